/* Which processes are watched. */
#ifndef TRACEXEC_TREE_BPF_H
#define TRACEXEC_TREE_BPF_H

const volatile u8 whole_system = 0;
const volatile u32 own_namespace = 0; /* the inode of tracexec's pid namespace */
/* What tracexec's time namespace adds to the time since boot, in ns: there clocks and /proc show it added. */
const volatile s64 own_boot_offset = 0;
s32 root_pid = 0; /* COMMAND, in tracexec's pid namespace, until its first exec */

/* A process of the tree. */
struct member {
    u32 depth;
    s32 parent; /* who forked it */
    u64 id;     /* no other one has it, whatever becomes of the number */
    u64 parent_id;
    u64 answers; /* of the tests on parents and ancestors, for its own program */
};

/* Of a hash map: the kernel allocates its buckets at once, 16 bytes each, which a user waits for. */
#define MANY_TASKS (1 << 17)

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, MANY_TASKS);
    __type(key, s32);
    __type(value, struct member);
} tree SEC(".maps");

/* tracexec itself and what it has started, which is never matched, by the numbers that tracexec sees; with --system,
   which sees all, what comes from it, too. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1 << 16);
    __type(key, s32);
    __type(value, u8);
} exempt SEC(".maps");

struct name {
    u8 bytes[16];
};

/* The name that a task had before its last renaming, an exec is one, too. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, MANY_TASKS);
    __type(key, s32);
    __type(value, struct name);
} names SEC(".maps");

#define FIRST_NAMESPACE 0xeffffffc /* PROC_PID_INIT_INO of the kernel */

/* As many pid namespaces are looked through; the kernel's MAX_PID_NS_LEVEL. */
#define NAMESPACES 32

/* A task's number as tracexec sees it, 0 if it is in no namespace of ours. */
__noinline s32 seen_number(u64 address)
{
    struct pid *pid = (void *)address;
    /* Nothing is outside of the first namespace; the loop is then cut out before it is verified. */
    if (own_namespace == FIRST_NAMESPACE)
        return BPF_CORE_READ(pid, numbers[0].nr);
    u32 level = BPF_CORE_READ(pid, level);
    for (u32 i = 0; i <= NAMESPACES; i++) {
        struct upid upid = {};
        if (i > level || bpf_core_read(&upid, sizeof upid, &pid->numbers[i]))
            break;
        if (BPF_CORE_READ(upid.ns, ns.inum) == own_namespace)
            return upid.nr;
    }
    return 0;
}

/* The same of a task's process. */
static __always_inline s32 own_view(struct task_struct *task)
{
    return seen_number((u64)BPF_CORE_READ(task, group_leader, thread_pid));
}

#define SIGNAL_GROUP_EXIT 4 /* in signal_struct's flags: all threads end with one status */

/* How far back a new task is looked for in a list: others may have been added since. */
#define LATEST 16

/* Whether the last task that was made, with this id, is a thread of the process that made it. The tracepoint does
   not say it. */
static __always_inline u32 is_new_thread(struct task_struct *task, s32 child)
{
    struct list_head *at = BPF_CORE_READ(task, signal, thread_head.prev);
    for (u32 i = 0; i < LATEST; i++) {
        struct task_struct *thread = (void *)at - bpf_core_field_offset(struct task_struct, thread_node);
        if (BPF_CORE_READ(thread, pid) == child)
            return 1;
        at = BPF_CORE_READ(at, prev);
    }
    return 0;
}

/* A new process's id as tracexec sees it. */
static __always_inline s32 seen_child(struct task_struct *task, s32 child)
{
    if (own_namespace == FIRST_NAMESPACE)
        return child;
    struct list_head *at = BPF_CORE_READ(task, children.prev);
    for (u32 i = 0; i < LATEST; i++) {
        struct task_struct *made = (void *)at - bpf_core_field_offset(struct task_struct, sibling);
        if (BPF_CORE_READ(made, pid) == child)
            return own_view(made);
        at = BPF_CORE_READ(at, prev);
    }
    return 0;
}

/* The number of the pid namespace that a process is in. */
static __always_inline u32 pid_namespace_of(struct task_struct *task)
{
    struct pid *pid = BPF_CORE_READ(task, thread_pid);
    u32 level = BPF_CORE_READ(pid, level);
    struct upid upid = {};
    bpf_core_read(&upid, sizeof upid, &pid->numbers[level]);
    return BPF_CORE_READ(upid.ns, ns.inum);
}

#define TS_COMPAT 2 /* x86: it is in, or begins as, a program of 32 bits */

static __always_inline u32 is_compat(struct task_struct *task)
{
    return bpf_core_field_exists(task->thread_info.status) && BPF_CORE_READ(task, thread_info.status) & TS_COMPAT;
}

/* The time since boot as tracexec sees it. */
static __always_inline u64 seen_time(void)
{
    return bpf_ktime_get_boot_ns() + own_boot_offset;
}

static __always_inline u64 start_time(struct task_struct *task)
{
    struct task_struct *leader = BPF_CORE_READ(task, group_leader);
    if (bpf_core_field_exists(leader->start_boottime))
        return BPF_CORE_READ(leader, start_boottime) + own_boot_offset;
    struct task_struct___before_5_5 *old = (void *)leader;
    return BPF_CORE_READ(old, real_start_time);
}

/* Whether a process is watched, COMMAND before its first exec aside; its depth. */
static __always_inline int is_member(s32 tgid, u32 *depth)
{
    struct member *known = bpf_map_lookup_elem(&tree, &tgid);
    if (known)
        *depth = known->depth;
    return known || (whole_system && !bpf_map_lookup_elem(&exempt, &tgid));
}

/* Whether an exec is one that we watch; its depth. */
static __always_inline int is_watched(struct trace_event_raw_sched_process_exec *ctx, s32 tgid, s32 seen, u32 *depth)
{
    s32 old = ctx->old_pid;
    if (old != tgid) {
        /* A thread has become the leader: its own id is no more. */
        bpf_map_delete_elem(&tree, &old);
        if (whole_system)
            bpf_map_delete_elem(&exempt, &old);
        bpf_map_delete_elem(&names, &old);
    }
    if (bpf_map_lookup_elem(&exempt, &seen) && seen != root_pid) {
        /* It was started by what is in the tree, as in a terminal that is: it leaves it. */
        bpf_map_delete_elem(&tree, &tgid);
        return 0;
    }
    struct member *known = bpf_map_lookup_elem(&tree, &tgid);
    if (known) {
        *depth = known->depth;
        return 1;
    }
    if (seen && seen == root_pid) {
        struct member member = {.id = new_id()};
        if (bpf_map_update_elem(&tree, &tgid, &member, BPF_ANY))
            ADD_ONE(counters.not_followed);
        bpf_map_delete_elem(&exempt, &seen);
        root_pid = 0;
        return 1;
    }
    return whole_system;
}

#endif
