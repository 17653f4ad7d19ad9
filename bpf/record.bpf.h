/* What an exec leaves to be seen, for userspace to know without looking at the process: records of its
   strings, its files and its control group, before the one of the exec itself. */
#ifndef TRACEXEC_RECORD_BPF_H
#define TRACEXEC_RECORD_BPF_H

#define SIGSTOP 19

/* Which parts are wanted. */
const volatile u8 records_env = 0;
const volatile u8 records_cwd = 0;
const volatile u8 records_fds = 0;
const volatile u8 records_cgroup = 0;

/* Of the program's strings, what one record carries. */
#define STRING_CHUNK (1 << 16)

/* Sends a part of the process's memory, no more than fits one record. */
__noinline u32 tell_chunk(u64 from, u64 left, u32 kind)
{
    struct scratch *scratch = scratch_of_cpu();
    u64 len = left < STRING_CHUNK ? left : STRING_CHUNK;
    asm volatile("" : "+r"(len));
    if (!scratch || len > STRING_CHUNK)
        return 1;
    struct string_event *event = (void *)(scratch->bytes + TEXT_AT - sizeof *event);
    u32 flags = 0;
    if (bpf_probe_read_user(scratch->bytes + TEXT_AT, len, (void *)from)) {
        flags = FLAG_STRING_UNREADABLE;
        len = 0;
    }
    begin_record(&event->header, &scratch->exec, EVENT_STRING, flags);
    event->kind = kind;
    event->len = len;
    scratch->exec.strings++;
    send(&scratch->exec, event, sizeof *event + len, sizeof *event + STRING_CHUNK);
    return flags;
}

/* Sends a block of strings as it lies in the process's memory; its length. */
__noinline u64 tell_block(u64 start, u64 end, u32 kind)
{
    for (u32 i = 0; i < MAX_BLOCK / STRING_CHUNK; i++) {
        u64 from = start + (u64)i * STRING_CHUNK;
        if (from >= end)
            break;
        tell_chunk(from, end - from, kind);
    }
    return end - start;
}

/* Sends the path that has been walked. */
__noinline u32 tell_walked(u32 kind, u64 address)
{
    struct inode *inode = (void *)address;
    struct scratch *scratch = scratch_of_cpu();
    if (!scratch)
        return 1;
    struct walk *walk = &scratch->walk;
    struct path_event *event = (void *)(scratch->bytes + TEXT_AT - sizeof *event);
    begin_record(&event->header, &scratch->exec, EVENT_PATH, walk->flags);
    event->kind = kind;
    event->names = walk->names;
    event->apart = walk->apart;
    event->deleted = walk->deleted;
    u64 len = walk->at;
    bounded(len, TEXT_MASK);
    event->len = len;
    event->inode = BPF_CORE_READ(inode, i_ino);
    event->magic = BPF_CORE_READ(inode, i_sb, s_magic);
    scratch->exec.paths++;
    send(&scratch->exec, event, sizeof *event + len, sizeof *event + MAX_TEXT);
    return 0;
}

/* Sends the path of a file. */
static __always_inline void tell_path(u32 kind, struct dentry *dentry, struct vfsmount *mnt)
{
    walk_from((u64)dentry, (u64)mnt, 0);
    tell_walked(kind, (u64)BPF_CORE_READ(dentry, d_inode));
}

static __always_inline struct kernfs_node *above(struct kernfs_node *node)
{
    if (bpf_core_field_exists(node->__parent))
        return BPF_CORE_READ(node, __parent);
    struct kernfs_node___before_6_15 *old = (void *)node;
    return (void *)BPF_CORE_READ(old, parent);
}

/* Goes up by one control group. */
static __always_inline u32 cgroup_turn(void)
{
    struct scratch *scratch = scratch_of_cpu();
    if (!scratch)
        return 1;
    struct walk *walk = &scratch->walk;
    struct kernfs_node *node = (void *)walk->at_dentry, *parent = above(node);
    walk->ended = !node || !parent || !add_name(scratch, walk, BPF_CORE_READ(node, name));
    walk->at_dentry = (u64)parent;
    return walk->ended;
}

DEFINE_LOOP(walk_cgroups, cgroup_turn, MAX_CGROUPS)

/* Sends the path of the control group, of version 2. */
__noinline u32 tell_cgroup(void)
{
    struct scratch *scratch = scratch_of_cpu();
    struct task_struct *task = (void *)bpf_get_current_task();
    if (!scratch)
        return 1;
    struct walk *walk = &scratch->walk;
    __builtin_memset(walk, 0, sizeof *walk);
    walk->at_dentry = (u64)BPF_CORE_READ(task, cgroups, dfl_cgrp, kn);
    walk_cgroups();
    if (!walk->ended)
        walk->flags |= FLAG_TOO_MANY_ITEMS | FLAG_POSSIBLE_TRUNCATION;
    return tell_walked(PATH_CGROUP, 0);
}

/* Sends a descriptor. */
__noinline u32 tell_fd(u64 address, u32 number, u32 close_on_exec)
{
    struct scratch *scratch = scratch_of_cpu();
    struct file *file = (void *)address;
    if (!scratch)
        return 1;
    struct fd_event *event = (void *)(scratch->bytes + TEXT_AT - sizeof *event);
    __builtin_memset(event, 0, sizeof *event);
    u32 flags = 0;
    event->number = number;
    event->close_on_exec = close_on_exec;
    if (bpf_core_read(&event->flags, sizeof event->flags, &file->f_flags))
        flags |= FLAG_FLAGS_UNREADABLE;
    if (bpf_core_read(&event->position, sizeof event->position, &file->f_pos))
        flags |= FLAG_POSITION_UNREADABLE;
    struct inode *inode = BPF_CORE_READ(file, f_inode);
    if (bpf_core_read(&event->inode, sizeof event->inode, &inode->i_ino))
        flags |= FLAG_INODE_UNREADABLE;
    event->mode = BPF_CORE_READ(inode, i_mode);
    event->device = BPF_CORE_READ(inode, i_rdev);
    event->magic = BPF_CORE_READ(inode, i_sb, s_magic);
    struct vfsmount *mnt = BPF_CORE_READ(file, f_path.mnt);
    struct mount *mount = (void *)mnt - bpf_core_field_offset(struct mount, mnt);
    if (!mnt || bpf_core_read(&event->mount_id, sizeof event->mount_id, &mount->mnt_id))
        flags |= FLAG_MOUNT_ID_UNREADABLE;
    long len = bpf_probe_read_kernel_str(scratch->bytes + TEXT_AT, NAME_ROOM, BPF_CORE_READ(inode, i_sb, s_type, name));
    event->type_len = len > 0 ? len - 1 : 0;
    walk_from((u64)BPF_CORE_READ(file, f_path.dentry), (u64)mnt, event->type_len);
    struct walk *walk = &scratch->walk;
    u64 end = walk->at;
    bounded(end, TEXT_MASK);
    begin_record(&event->header, &scratch->exec, EVENT_FD, flags | walk->flags);
    event->names = walk->names;
    event->apart = walk->apart;
    event->deleted = walk->deleted;
    event->len = end - event->type_len;
    scratch->exec.fds++;
    send(&scratch->exec, event, sizeof *event + end, sizeof *event + MAX_TEXT);
    return 0;
}

/* Sends the next descriptor of a word of bits, or goes to the next word. */
static __always_inline u32 fd_turn(void)
{
    struct scratch *scratch = scratch_of_cpu();
    if (!scratch)
        return 1;
    struct table *table = &scratch->table;
    if (!table->open) {
        table->ended = table->next == table->words;
        if (table->ended)
            return 1;
        u64 at = table->next * sizeof table->open;
        bpf_probe_read_kernel(&table->open, sizeof table->open, (void *)(table->open_at + at));
        bpf_probe_read_kernel(&table->closing, sizeof table->closing, (void *)(table->closing_at + at));
        table->next++;
        return 0;
    }
    u64 lowest = table->open & -table->open;
    u32 number = (table->next - 1) * 64 + __builtin_popcountll(lowest - 1);
    table->open ^= lowest;
    struct file *file = 0;
    bpf_probe_read_kernel(&file, sizeof file, (struct file **)table->files_at + number);
    /* A number may be taken before its file is there. */
    if (file)
        tell_fd((u64)file, number, (table->closing & lowest) != 0);
    return 0;
}

DEFINE_LOOP(tell_table, fd_turn, MAX_FD_TURNS)

/* Sends all descriptors of the process. */
static __always_inline void tell_fds(void)
{
    struct scratch *scratch = scratch_of_cpu();
    struct task_struct *task = (void *)bpf_get_current_task();
    struct fdtable *fdt = BPF_CORE_READ(task, files, fdt);
    u32 most = 0;
    if (!scratch)
        return;
    if (!fdt || bpf_core_read(&most, sizeof most, &fdt->max_fds)) {
        scratch->exec.flags |= FLAG_FDS_UNREADABLE;
        return;
    }
    struct table *table = &scratch->table;
    __builtin_memset(table, 0, sizeof *table);
    table->files_at = (u64)BPF_CORE_READ(fdt, fd);
    table->open_at = (u64)BPF_CORE_READ(fdt, open_fds);
    table->closing_at = (u64)BPF_CORE_READ(fdt, close_on_exec);
    table->words = (most + 63) / 64;
    tell_table();
    if (!table->ended)
        scratch->exec.flags |= FLAG_TOO_MANY_ITEMS;
}

/* Whether somebody else has sent it a SIGSTOP that is on its way. */
static __always_inline int stops_already(struct task_struct *task)
{
    u64 own = BPF_CORE_READ(task, pending.signal.sig[0]);
    return (own | BPF_CORE_READ(task, signal, shared_pending.signal.sig[0])) >> (SIGSTOP - 1) & 1;
}

/* tracexec's thread that traces what is followed until something happens to it; 0 where there is none. */
const volatile s32 own_tracer = 0;

/* Whether that traces the current process. */
__noinline u32 is_followed(void)
{
    struct task_struct *task = (void *)bpf_get_current_task();
    return own_tracer && seen_number((u64)BPF_CORE_READ(task, parent, thread_pid)) == own_tracer;
}

/* Whether somebody else traces it. What tracexec follows it lets go at this exec. */
static __always_inline int traced_elsewhere(struct task_struct *task)
{
    return BPF_CORE_READ(task, ptrace) != 0 && !(own_tracer && is_followed());
}

/* What every exec's record says. */
static __always_inline void fill(struct exec_event *event, struct task_struct *task, struct exec *exec, u32 answer)
{
    __builtin_memset(event, 0, sizeof *event);
    begin_record(&event->header, exec, EVENT_SYSEXIT, exec->flags);
    event->time = seen_time();
    event->start_time = start_time(task);
    event->tgid = exec->seen;
    event->kernel_tgid = exec->tgid;
    event->uid = BPF_CORE_READ(task, cred, euid.val);
    event->gid = BPF_CORE_READ(task, cred, egid.val);
    event->depth = exec->depth;
    event->answer = answer;
    event->slot = NO_SLOT;
    event->traced = traced_elsewhere(task);
    event->stops_already = stops_already(task);
    event->old_tid = exec->old_tid;
    event->compat = is_compat(task);
    if (bpf_get_current_comm(event->comm, sizeof event->comm))
        event->header.flags |= FLAG_COMM_UNREADABLE;
    struct name *name = bpf_map_lookup_elem(&names, &exec->tgid);
    if (name)
        __builtin_memcpy(event->prev_comm, name->bytes, sizeof event->prev_comm);
}

/* What it says besides where all is recorded. */
static __always_inline void describe(struct exec_event *event, struct task_struct *task, struct exec *exec)
{
    event->parent = own_view(BPF_CORE_READ(task, real_parent));
    event->strings = exec->strings;
    event->paths = exec->paths;
    event->fds = exec->fds;
    event->mount_namespace = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
    event->pid_namespace = pid_namespace_of(task);
    const struct cred *cred = BPF_CORE_READ(task, cred);
    event->uids[0] = BPF_CORE_READ(cred, uid.val);
    event->uids[1] = event->uid;
    event->uids[2] = BPF_CORE_READ(cred, suid.val);
    event->uids[3] = BPF_CORE_READ(cred, fsuid.val);
    event->gids[0] = BPF_CORE_READ(cred, gid.val);
    event->gids[1] = event->gid;
    event->gids[2] = BPF_CORE_READ(cred, sgid.val);
    event->gids[3] = BPF_CORE_READ(cred, fsgid.val);
    struct group_info *groups = BPF_CORE_READ(cred, group_info);
    event->group_count = BPF_CORE_READ(groups, ngroups);
    u64 size = (event->group_count < MAX_GROUPS ? event->group_count : MAX_GROUPS) * sizeof event->groups[0];
    asm volatile("" : "+r"(size));
    if (size <= sizeof event->groups)
        bpf_core_read(event->groups, size, &groups->gid);
    event->recorded = RECORDED_ARGV | (records_env ? RECORDED_ENV : 0) | (records_fds ? RECORDED_FDS : 0);
}

#endif
