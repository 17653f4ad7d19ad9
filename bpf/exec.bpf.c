/* Programs and maps only: which execs there are, which of them may match, and how those are stopped.

   Classic tracepoints: they are never skipped for having been preempted, and load everywhere. */
#include "kernel.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#include "interface.h"
#include "filter.bpf.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define SIGSTOP 19
/* Of the ring buffer, in bytes; userspace is woken when a quarter is full. */
#define EVENT_ROOM (1 << 20)
/* As many execs are told that passed the same number of tests. */
#define NEAR_EACH 6
/* Of the argv of those, in bytes. */
#define NEAR_ARGV 4096

/* Set before the programs are loaded; what is not needed is then dead code. */
const volatile u8 whole_system = 0;
const volatile u32 own_namespace = 0; /* the inode of tracexec's pid namespace */
const volatile u8 tells_tree = 0;     /* every fork, exec and exit of the tree */
const volatile u8 tells_argv = 0;     /* ... with this of each exec */

/* Changed while they run. */
u8 enabled = 0;
s32 root_pid = 0; /* COMMAND, in tracexec's pid namespace, until its first exec */
struct counters counters = {};
u32 near_told[MAX_TESTS + 1] = {}; /* how many execs were told that passed so many tests */

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, EVENT_ROOM);
} events SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1 << 20);
    __type(key, s32);
    __type(value, u32); /* its depth */
} tree SEC(".maps");

/* tracexec itself and what it has started, which --system never matches. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1 << 16);
    __type(key, s32);
    __type(value, u8);
} exempt SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, SLOTS); /* userspace multiplies it by the number of CPUs */
    __type(key, u32);
    __type(value, struct stopped_process);
} stopped SEC(".maps");

struct name {
    u8 bytes[16];
};

/* The name that a task had before its last renaming, an exec is one, too. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1 << 20);
    __type(key, s32);
    __type(value, struct name);
} names SEC(".maps");

/* Named in data, so that the generated bindings have these types too. */
const volatile struct exec_event unused_exec_event = {};
const volatile struct string_event unused_string_event = {};
const volatile struct fork_event unused_fork_event = {};
const volatile struct exit_event unused_exit_event = {};
const volatile enum limit unused_limit = 0;
const volatile enum event_flag unused_event_flag = 0;
const volatile enum filter_step unused_filter_step = 0;

/* As many pid namespaces are looked through; the kernel's MAX_PID_NS_LEVEL. */
#define NAMESPACES 32

/* Relaxed, so that every clang makes it an addition without a result: one with a result, which Linux has
   had since 5.12 only, is refused before. */
#define ADD_ONE(number) ((void)__atomic_fetch_add(&(number), 1, __ATOMIC_RELAXED))

/* A process's id as tracexec sees it, 0 if it is in no namespace of ours. */
static __always_inline s32 own_view(struct task_struct *task)
{
    struct pid *pid = BPF_CORE_READ(task, group_leader, thread_pid);
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

static __always_inline u64 start_time(struct task_struct *task)
{
    struct task_struct *leader = BPF_CORE_READ(task, group_leader);
    if (bpf_core_field_exists(leader->start_boottime))
        return BPF_CORE_READ(leader, start_boottime);
    struct task_struct___before_5_5 *old = (void *)leader;
    return BPF_CORE_READ(old, real_start_time);
}

/* Whether an exec is one that we watch; its depth. */
static __always_inline int is_watched(struct trace_event_raw_sched_process_exec *ctx, s32 tgid, s32 seen, u32 *depth)
{
    s32 old = ctx->old_pid;
    if (old != tgid) {
        /* A thread has become the leader: its own id is no more. */
        bpf_map_delete_elem(&tree, &old);
        bpf_map_delete_elem(&exempt, &old);
        bpf_map_delete_elem(&names, &old);
    }
    if (bpf_map_lookup_elem(&exempt, &tgid) && seen != root_pid)
        return 0;
    u32 *known = bpf_map_lookup_elem(&tree, &tgid);
    if (known) {
        *depth = *known;
        return 1;
    }
    if (seen && seen == root_pid) {
        if (bpf_map_update_elem(&tree, &tgid, depth, BPF_ANY))
            ADD_ONE(counters.not_followed);
        bpf_map_delete_elem(&exempt, &tgid);
        root_pid = 0;
        return 1;
    }
    return whole_system;
}

/* What is known of the exec at hand. */
struct exec {
    s32 tgid;
    s32 seen;
    s32 old_tid;
    u32 depth;
    u64 id;
    u32 records;
    u32 argv_read;
};

/* Whether userspace is to be woken for a record that can wait. */
static __always_inline u64 when_full(void)
{
    /* BPF_RB_AVAIL_DATA */
    return bpf_ringbuf_query(&events, 0) > EVENT_ROOM / 4 ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

static __always_inline u32 text_len(long read)
{
    return read > 0 ? read - 1 : NOT_READ;
}

/* Reads what the tests ask for and argv is not. */
static __always_inline void read_facts(struct trace_event_raw_sched_process_exec *ctx, struct task_struct *task,
                                       struct exec *exec)
{
    struct scratch *scratch = scratch_of_cpu();
    if (!scratch)
        return;
    struct facts *facts = &scratch->facts;
    facts->uid = BPF_CORE_READ(task, cred, euid.val);
    facts->gid = BPF_CORE_READ(task, cred, egid.val);
    facts->pid = exec->seen;
    facts->depth = exec->depth;
    const char *filename = (const char *)ctx + (ctx->__data_loc_filename & 0xffff);
    facts->filename_len =
        text_len(bpf_probe_read_kernel_str(scratch->bytes + FILENAME_AT, FILENAME_ROOM, filename));
    facts->comm_len = text_len(bpf_probe_read_kernel_str(scratch->bytes + COMM_AT, COMM_ROOM, task->comm));
    const u8 *exe = BPF_CORE_READ(task, mm, exe_file, f_path.dentry, d_name.name);
    facts->exe_len = text_len(bpf_probe_read_kernel_str(scratch->bytes + EXE_AT, EXE_ROOM, exe));
    struct name *name = bpf_map_lookup_elem(&names, &exec->tgid);
    facts->prev_comm_len =
        name ? text_len(bpf_probe_read_kernel_str(scratch->bytes + PREV_COMM_AT, COMM_ROOM, name->bytes))
             : NOT_READ;
}

/* The tests that need no argv, two bits each. */
static __always_inline u64 cheap_answers(void)
{
    u64 answers = 0;
    for (u32 i = 0; i < MAX_TESTS; i++) {
        if (i >= test_count)
            break;
        answers |= (u64)(test_cheap(i) & 3) << (2 * i);
    }
    return answers;
}

/* Reads argv into the scratch. */
static __always_inline int read_argv(struct task_struct *task, struct exec *exec)
{
    struct scratch *scratch = scratch_of_cpu();
    if (!scratch)
        return -1;
    u64 start = BPF_CORE_READ(task, mm, arg_start), end = BPF_CORE_READ(task, mm, arg_end);
    u64 whole = end - start;
    u32 len = whole < ARGV_ROOM ? whole : ARGV_ROOM;
    if (len && copy_argv(start, len))
        return -1;
    scratch->facts.argv_len = len;
    scratch->facts.argv_cut = whole > ARGV_ROOM;
    scratch->facts.argc = count_strings(len);
    exec->argv_read = 1;
    return 0;
}

/* The same with the tests on argv. */
static __always_inline u64 argv_answers(u64 answers)
{
    for (u32 i = 0; i < MAX_TESTS; i++) {
        if (i >= test_count)
            break;
        if (tests[i].source < SOURCE_ARGV)
            continue;
        answers = (answers & ~(3ULL << (2 * i))) | (u64)(test_argv(i) & 3) << (2 * i);
    }
    return answers;
}

/* Notes a process as stopped. Nobody else fills the slots of this CPU. */
__noinline u32 take_slot(u64 start_time, s32 tgid)
{
    u32 first = bpf_get_smp_processor_id() * SLOTS;
    for (u32 i = 0; i < SLOTS; i++) {
        u32 slot = first + i;
        struct stopped_process *mark = bpf_map_lookup_elem(&stopped, &slot);
        if (!mark)
            break;
        if (mark->tgid)
            continue;
        mark->start_time = start_time;
        asm volatile("" ::: "memory"); /* the tgid makes it valid */
        mark->tgid = tgid;
        return slot;
    }
    return NO_SLOT;
}

static __always_inline void give_back(u32 slot)
{
    struct stopped_process *mark = bpf_map_lookup_elem(&stopped, &slot);
    if (mark)
        mark->tgid = 0;
}

/* Sends bytes of the scratch. */
static __always_inline void tell_string(struct exec *exec, u32 at, u32 len, u32 kind, u32 most, u32 flags)
{
    struct scratch *scratch = scratch_of_cpu();
    if (!scratch)
        return;
    if (len > most) {
        len = most;
        flags |= FLAG_POSSIBLE_TRUNCATION;
    }
    struct string_event *event = (void *)(scratch->bytes + at - sizeof *event);
    event->header.id = exec->id;
    event->header.counter = exec->records++;
    event->header.kind = EVENT_STRING;
    event->header.flags = flags;
    event->header.pid = exec->seen;
    event->kind = kind;
    event->len = len;
    bpf_ringbuf_output(&events, event, sizeof *event + len, when_full());
}

static __always_inline void fill(struct exec_event *event, struct task_struct *task, struct exec *exec, u32 answer)
{
    event->header.id = exec->id;
    event->header.counter = exec->records++;
    event->header.kind = EVENT_SYSEXIT;
    event->header.flags = 0;
    event->header.pid = exec->seen;
    event->start_time = start_time(task);
    event->tgid = exec->seen;
    event->kernel_tgid = exec->tgid;
    event->uid = BPF_CORE_READ(task, cred, euid.val);
    event->gid = BPF_CORE_READ(task, cred, egid.val);
    event->depth = exec->depth;
    event->answer = answer;
    event->stopped = 0;
    event->slot = NO_SLOT;
    event->traced = BPF_CORE_READ(task, ptrace) != 0;
    event->old_tid = exec->old_tid;
    bpf_get_current_comm(event->comm, sizeof event->comm);
    struct name *name = bpf_map_lookup_elem(&names, &exec->tgid);
    if (name)
        __builtin_memcpy(event->prev_comm, name->bytes, sizeof event->prev_comm);
    else
        __builtin_memset(event->prev_comm, 0, sizeof event->prev_comm);
}

/* Stops the current process, once userspace is sure to hear of it. */
static __always_inline void stop(struct task_struct *task, struct exec *exec, u32 answer)
{
    struct exec_event *event = bpf_ringbuf_reserve(&events, sizeof *event, 0);
    if (!event) {
        ADD_ONE(counters.not_stopped);
        return;
    }
    fill(event, task, exec, answer);
    if (!event->traced && exec->seen) {
        u32 slot = take_slot(event->start_time, exec->seen);
        if (slot != NO_SLOT) {
            if (!bpf_send_signal(SIGSTOP)) {
                event->stopped = 1;
                event->slot = slot;
            } else {
                give_back(slot);
            }
        }
        if (!event->stopped)
            ADD_ONE(counters.not_stopped);
    }
    bpf_ringbuf_submit(event, BPF_RB_FORCE_WAKEUP);
}

/* Tells of an exec that runs on. */
static __always_inline void tell(struct task_struct *task, struct exec *exec, u32 most_argv)
{
    struct scratch *scratch = scratch_of_cpu();
    if (!scratch)
        return;
    u32 argv_flags = scratch->facts.argv_cut ? FLAG_POSSIBLE_TRUNCATION : 0;
    u32 filename_len = scratch->facts.filename_len;
    if (exec->argv_read)
        tell_string(exec, ARGV_AT, scratch->facts.argv_len, STRING_ARGV, most_argv, argv_flags);
    if (filename_len != NOT_READ)
        tell_string(exec, FILENAME_AT, filename_len, STRING_FILENAME, FILENAME_ROOM, 0);
    struct exec_event *event = bpf_ringbuf_reserve(&events, sizeof *event, 0);
    if (!event) {
        if (tells_tree)
            ADD_ONE(counters.not_told);
        return;
    }
    fill(event, task, exec, ANSWER_NO);
    bpf_ringbuf_submit(event, when_full());
}

/* Whether an exec that did not match passed so many tests that it is worth being told. */
static __always_inline int is_near(u64 answers)
{
    /* Of the three answers only yes has the lower bit. */
    u32 passed = __builtin_popcountll(answers & 0x5555555555555555ULL);
    u32 *told = &near_told[passed & (MAX_TESTS - 1)];
    if (*told >= NEAR_EACH)
        return 0;
    ADD_ONE(*told);
    return 1;
}

SEC("tp/sched/sched_process_exec")
int handle_exec(struct trace_event_raw_sched_process_exec *ctx)
{
    struct task_struct *task = (void *)bpf_get_current_task();
    struct exec exec = {.tgid = bpf_get_current_pid_tgid() >> 32, .old_tid = ctx->old_pid};
    exec.seen = own_view(task);
    if (!enabled || !is_watched(ctx, exec.tgid, exec.seen, &exec.depth))
        return 0;
    exec.id = new_id();
    ADD_ONE(counters.execs);
    read_facts(ctx, task, &exec);
    u64 answers = cheap_answers();
    u32 answer = evaluate(answers);
    if (answer == ANSWER_UNKNOWN && wants_argv && !read_argv(task, &exec)) {
        answers = argv_answers(answers);
        answer = evaluate(answers);
    }
    if (answer != ANSWER_NO) {
        stop(task, &exec, answer);
    } else if (tells_tree || is_near(answers)) {
        if (!exec.argv_read)
            read_argv(task, &exec);
        tell(task, &exec, tells_argv ? ARGV_ROOM : NEAR_ARGV);
    }
    return 0;
}

/* A new name, before it is set. */
SEC("tp/task/task_rename")
int handle_rename(struct trace_event_raw_task_rename *ctx)
{
    s32 tid = ctx->pid;
    struct name name;
    if (!enabled)
        return 0;
    bpf_probe_read_kernel(name.bytes, sizeof name.bytes, ctx->oldcomm);
    bpf_map_update_elem(&names, &tid, &name, BPF_ANY);
    return 0;
}

/* The child may be a thread, whose id is then a key that nobody asks for, until it ends. */
SEC("tp/sched/sched_process_fork")
int handle_fork(struct trace_event_raw_sched_process_fork *ctx)
{
    s32 parent = bpf_get_current_pid_tgid() >> 32;
    s32 child = ctx->child_pid;
    if (!enabled)
        return 0;
    u32 *known = bpf_map_lookup_elem(&tree, &parent);
    if (known) {
        u32 depth = *known + 1;
        if (bpf_map_update_elem(&tree, &child, &depth, BPF_ANY))
            ADD_ONE(counters.not_followed);
        if (tells_tree) {
            struct fork_event event = {
                .header = {.id = new_id(), .kind = EVENT_FORK, .pid = child},
                .parent = parent,
                .child = child,
            };
            if (bpf_ringbuf_output(&events, &event, sizeof event, when_full()))
                ADD_ONE(counters.not_told);
        }
    }
    if (whole_system && bpf_map_lookup_elem(&exempt, &parent)) {
        u8 one = 1;
        bpf_map_update_elem(&exempt, &child, &one, BPF_ANY);
    }
    return 0;
}

static __always_inline void tell_exit(struct task_struct *task, s32 id, u32 whole_process)
{
    u32 code = BPF_CORE_READ(task, exit_code);
    struct exit_event event = {
        .header = {.id = new_id(), .kind = EVENT_EXIT, .pid = id},
        .task = id,
        .whole_process = whole_process,
        .code = code >> 8 & 0xff,
        .signal = code & 0x7f,
    };
    if (bpf_ringbuf_output(&events, &event, sizeof event, when_full()))
        ADD_ONE(counters.not_told);
}

/* A task is no more. */
static __always_inline void forget(struct task_struct *task, s32 id, u32 whole_process)
{
    if (!bpf_map_delete_elem(&tree, &id) && tells_tree)
        tell_exit(task, id, whole_process);
    if (whole_system)
        bpf_map_delete_elem(&exempt, &id);
    bpf_map_delete_elem(&names, &id);
}

SEC("tp/sched/sched_process_exit")
int handle_exit(void *ctx)
{
    struct task_struct *task = (void *)bpf_get_current_task();
    u64 both = bpf_get_current_pid_tgid();
    s32 tgid = both >> 32, tid = both;
    int last = BPF_CORE_READ(task, signal, live.counter) == 0;
    /* The leader may end before its process does, or for a thread that executes. */
    if (tid != tgid)
        forget(task, tid, 0);
    if (last)
        forget(task, tgid, 1);
    return 0;
}
