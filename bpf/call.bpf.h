/* Exec calls that fail. Their strings are read when they have failed, and lie where the caller has them. */
#ifndef TRACEXEC_CALL_BPF_H
#define TRACEXEC_CALL_BPF_H

/* Whether failing execs are wanted. It is dear: every system call of the machine becomes slower. */
const volatile u8 records_calls = 0;

/* A call that has begun. */
struct call {
    struct exec exec;
    u64 filename;
    u64 argv;
    u64 envp;
    s32 dirfd;
    u32 flags;
    u32 is_execveat;
    u32 compat;
    u8 comm[16];
};

/* By the thread's id. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1 << 16);
    __type(key, s32);
    __type(value, struct call);
} calls SEC(".maps");

/* The numbers of the calls, see the kernel's tables of system calls. */
#if defined(__TARGET_ARCH_x86)
enum { EXECVE = 59, EXECVEAT = 322, COMPAT_EXECVE = 11, COMPAT_EXECVEAT = 358, X32_EXECVE = 0x40000208, X32_EXECVEAT = 0x40000221 };
#else
enum { EXECVE = 221, EXECVEAT = 281, COMPAT_EXECVE = 11, COMPAT_EXECVEAT = 387, X32_EXECVE = -1, X32_EXECVEAT = -1 };
#endif

/* What a call returns that has failed is not below its negative, see the kernel's include/linux/err.h. */
#define MAX_ERRNO 4095

/* Calls of x32 have it, whose pointers lie in 8 bytes but in vectors take 4. */
#define X32_BIT 0x40000000

enum which_call { NO_EXEC, IS_EXECVE, IS_EXECVEAT };

/* Whether it can be one of the calls, by its number alone. This is all that every other call costs. */
static __always_inline u32 may_be_exec(s64 number)
{
    return number == EXECVE || number == EXECVEAT || number == COMPAT_EXECVE || number == COMPAT_EXECVEAT ||
           number == X32_EXECVE || number == X32_EXECVEAT;
}

/* The number of a call, from its registers. */
static __always_inline s64 number_of(struct pt_regs *regs)
{
#if defined(__TARGET_ARCH_x86)
    return (s64)BPF_CORE_READ(regs, orig_ax);
#else
    return BPF_CORE_READ(regs, syscallno);
#endif
}

/* Which of the calls it is, and whether its pointers have 4 bytes. */
static __always_inline enum which_call which_call(struct task_struct *task, s64 number, u32 *compat)
{
    *compat = is_compat(task);
    if (*compat)
        return number == COMPAT_EXECVE ? IS_EXECVE : number == COMPAT_EXECVEAT ? IS_EXECVEAT : NO_EXEC;
    *compat = number == X32_EXECVE || number == X32_EXECVEAT;
    return number == EXECVE || number == X32_EXECVE       ? IS_EXECVE
           : number == EXECVEAT || number == X32_EXECVEAT ? IS_EXECVEAT
                                                          : NO_EXEC;
}

/* Reads the arguments, of narrow registers the lower halves. Not inlined: the stack of what follows is full. */
static __noinline int read_arguments(struct pt_regs *regs, struct call *call, u32 narrow)
{
    const u64 mask = narrow ? 0xffffffff : ~0ULL;
    u64 args[5];
#if defined(__TARGET_ARCH_x86)
    args[0] = (narrow ? BPF_CORE_READ(regs, bx) : BPF_CORE_READ(regs, di)) & mask;
    args[1] = (narrow ? BPF_CORE_READ(regs, cx) : BPF_CORE_READ(regs, si)) & mask;
    args[2] = BPF_CORE_READ(regs, dx) & mask;
    args[3] = (narrow ? BPF_CORE_READ(regs, si) : BPF_CORE_READ(regs, r10)) & mask;
    args[4] = (narrow ? BPF_CORE_READ(regs, di) : BPF_CORE_READ(regs, r8)) & mask;
#else
    for (u32 i = 0; i < 5; i++)
        args[i] = BPF_CORE_READ(regs, regs[i]) & mask;
#endif
    if (call->is_execveat) {
        call->dirfd = args[0];
        call->flags = args[4];
    }
    call->filename = call->is_execveat ? args[1] : args[0];
    call->argv = call->is_execveat ? args[2] : args[1];
    call->envp = call->is_execveat ? args[3] : args[2];
    return 0;
}

/* Sends the strings that were gathered, and what is wrong with them. */
static __always_inline void flush(struct scratch *scratch, struct vector *vector, u32 flags)
{
    flags |= vector->flags;
    vector->flags = 0;
    struct string_event *event = (void *)(scratch->bytes + TEXT_AT - sizeof *event);
    u64 len = vector->fill;
    if (len > GATHERED + MAX_STRING)
        return;
    begin_record(&event->header, &scratch->exec, EVENT_STRING, flags);
    event->kind = vector->kind;
    event->len = len;
    scratch->exec.strings++;
    send(&scratch->exec, event, sizeof *event + len, sizeof *event + GATHERED + MAX_STRING);
    vector->len += len;
    vector->fill = 0;
}

/* Gathers a string; whether that is to be the last. */
__noinline u32 gather(u64 address)
{
    struct scratch *scratch = scratch_of_cpu();
    if (!scratch)
        return 1;
    struct vector *vector = &scratch->vector;
    u64 fill = vector->fill;
    if (fill > GATHERED)
        return 1;
    if (vector->len + fill > MAX_BLOCK) {
        vector->flags |= FLAG_POSSIBLE_TRUNCATION;
        return 1;
    }
    long len = bpf_probe_read_user_str(scratch->bytes + TEXT_AT + fill, MAX_STRING, (void *)address);
    /* The NUL of an empty string, which older kernels do not count, is there. */
    if (len == 0)
        len = 1;
    if (len > 0) {
        if (is_cut(address, len, MAX_STRING))
            vector->flags |= FLAG_POSSIBLE_TRUNCATION;
        vector->fill = fill + len;
        if (vector->fill > GATHERED)
            flush(scratch, vector, 0);
        return 0;
    }
    if (fill)
        flush(scratch, vector, 0);
    /* By itself: one string that is not known. */
    flush(scratch, vector, FLAG_STRING_UNREADABLE);
    return 0;
}

/* Gathers the next string. */
static __always_inline u32 vector_turn(void)
{
    struct scratch *scratch = scratch_of_cpu();
    if (!scratch)
        return 1;
    struct vector *vector = &scratch->vector;
    u64 address = 0;
    long failed;
    if (vector->compat) {
        u32 narrow = 0;
        failed = bpf_probe_read_user(&narrow, sizeof narrow, (void *)vector->next);
        address = narrow;
    } else {
        failed = bpf_probe_read_user(&address, sizeof address, (void *)vector->next);
    }
    if (failed)
        vector->flags |= FLAG_POINTER_UNREADABLE;
    vector->next += vector->compat ? 4 : 8;
    vector->ended = failed || !address || gather(address);
    return vector->ended;
}

DEFINE_LOOP(gather_all, vector_turn, MAX_STRINGS)

/* Sends the strings of a vector, and how many bytes they are. */
__noinline u64 tell_vector(u64 address, u32 kind, u32 compat)
{
    struct scratch *scratch = scratch_of_cpu();
    if (!scratch)
        return 0;
    struct vector *vector = &scratch->vector;
    __builtin_memset(vector, 0, sizeof *vector);
    vector->next = address;
    vector->kind = kind;
    vector->compat = compat;
    if (address) {
        gather_all();
        if (!vector->ended)
            vector->flags |= FLAG_TOO_MANY_ITEMS;
    }
    if (vector->fill || vector->flags)
        flush(scratch, vector, 0);
    return vector->len;
}

/* Reads the file name as it was passed into the scratch, and sets what is wrong with it; its length. */
static __always_inline u64 read_filename(struct scratch *scratch, u64 address, u32 *flags)
{
    long read = bpf_probe_read_user_str(scratch->bytes + FILENAME_AT, FILENAME_ROOM, (void *)address);
    u64 len = text_len(read);
    if (len >= FILENAME_ROOM) {
        *flags = FLAG_FILENAME_UNREADABLE;
        return 0;
    }
    *flags = is_cut(address, read, FILENAME_ROOM) ? FLAG_POSSIBLE_TRUNCATION : 0;
    return len;
}

/* Sends the file name as it was passed, which the kernel has read by now. */
__noinline u32 tell_filename(u64 address)
{
    struct scratch *scratch = scratch_of_cpu();
    if (!scratch)
        return 1;
    struct string_event *event = (void *)(scratch->bytes + FILENAME_AT - sizeof *event);
    u32 flags;
    u64 len = read_filename(scratch, address, &flags);
    begin_record(&event->header, &scratch->exec, EVENT_STRING, flags);
    event->kind = STRING_FILENAME;
    event->len = len;
    scratch->exec.strings++;
    send(&scratch->exec, event, sizeof *event + len, sizeof *event + FILENAME_ROOM);
    return flags;
}

/* Sends the first argument, in whose place the kernel puts what runs a script. */
__noinline u32 tell_name(u64 argv, u32 compat)
{
    struct scratch *scratch = scratch_of_cpu();
    if (!scratch)
        return 1;
    struct vector *vector = &scratch->vector;
    __builtin_memset(vector, 0, sizeof *vector);
    vector->kind = STRING_NAME;
    u64 address = 0;
    u32 narrow = 0;
    if (!argv)
        return 0;
    long failed = compat ? bpf_probe_read_user(&narrow, sizeof narrow, (void *)argv)
                         : bpf_probe_read_user(&address, sizeof address, (void *)argv);
    if (compat)
        address = narrow;
    if (failed)
        flush(scratch, vector, FLAG_STRING_UNREADABLE);
    else if (address)
        gather(address);
    if (vector->fill)
        flush(scratch, vector, 0);
    return 0;
}

/* A call has begun: tells of it and of the descriptors, some of which a success will close. */
static __always_inline void enter_call(struct task_struct *task, struct call *call)
{
    struct scratch *scratch = scratch_of_cpu();
    if (!scratch)
        return;
    u64 both = bpf_get_current_pid_tgid();
    struct exec *exec = &scratch->exec;
    __builtin_memset(exec, 0, sizeof *exec);
    exec->tgid = both >> 32;
    exec->old_tid = both;
    if (!is_member(exec->tgid, &exec->depth))
        return;
    exec->seen = own_view(task);
    exec->id = new_id();
    bpf_get_current_comm(call->comm, sizeof call->comm);
    struct call_event *event = (void *)(scratch->bytes + FILENAME_AT - sizeof *event);
    __builtin_memset(event, 0, sizeof *event);
    u32 flags;
    u64 len = read_filename(scratch, call->filename, &flags);
    begin_record(&event->header, exec, EVENT_SYSENTER, flags);
    event->filename_len = len;
    __builtin_memcpy(event->comm, call->comm, sizeof event->comm);
    send(exec, event, sizeof *event + len, sizeof *event + FILENAME_ROOM);
    tell_name(call->argv, call->compat);
    if (records_fds)
        tell_fds();
    s32 tid = both;
    call->exec = *exec;
    if (bpf_map_update_elem(&calls, &tid, call, BPF_ANY))
        ADD_ONE(counters.not_told);
}

/* The exec at hand has been told of as a call: it goes on with that one's records. */
static __always_inline void resume_call(struct exec *exec)
{
    struct call *call = bpf_map_lookup_elem(&calls, &exec->old_tid);
    if (!call)
        return;
    exec->id = call->exec.id;
    exec->records = call->exec.records;
    exec->fds = call->exec.fds;
    exec->flags = call->exec.flags;
}

/* What its call was. */
static __always_inline void finish_call(struct exec *exec, struct exec_event *event)
{
    struct call *call = bpf_map_lookup_elem(&calls, &exec->old_tid);
    if (!call)
        return;
    event->is_execveat = call->is_execveat;
    event->dirfd = call->dirfd;
    event->call_flags = call->flags;
    __builtin_memcpy(event->prev_comm, call->comm, sizeof event->prev_comm);
}

/* Sends the exec's own record of a failed call, after all others. */
static __always_inline void tell_result(struct call *call, s64 result, u64 argv_len, u64 env_len)
{
    struct task_struct *task = (void *)bpf_get_current_task();
    struct exec_event *event = bpf_ringbuf_reserve(&events, sizeof *event, 0);
    if (!event) {
        ADD_ONE(counters.not_told);
        return;
    }
    fill(event, task, &call->exec, ANSWER_UNKNOWN);
    describe(event, task, &call->exec);
    event->argv_len = argv_len;
    event->env_len = env_len;
    event->result = result;
    event->is_execveat = call->is_execveat;
    event->dirfd = call->dirfd;
    event->call_flags = call->flags;
    event->compat = call->compat;
    bpf_ringbuf_submit(event, when_full());
}

/* Tells of a failed call what the process's memory is not needed for, and its file name, which the kernel has
   read before. */
static __always_inline void begin_failure(struct call *call)
{
    struct task_struct *task = (void *)bpf_get_current_task();
    struct scratch *scratch = scratch_of_cpu();
    if (!scratch)
        return;
    scratch->exec = call->exec;
    tell_filename(call->filename);
    if (records_cwd)
        tell_path(PATH_CWD, BPF_CORE_READ(task, fs, pwd.dentry), BPF_CORE_READ(task, fs, pwd.mnt));
    if (records_cgroup)
        tell_cgroup();
    call->exec = scratch->exec;
}

/* Tells the rest, as far as it can be read at once. */
static __always_inline void finish_failure(struct call *call, s64 result)
{
    struct scratch *scratch = scratch_of_cpu();
    if (!scratch)
        return;
    scratch->exec = call->exec;
    u64 argv_len = tell_vector(call->argv, STRING_ARGV, call->compat);
    u64 env_len = records_env ? tell_vector(call->envp, STRING_ENV, call->compat) : 0;
    call->exec = scratch->exec;
    tell_result(call, result, argv_len, env_len);
}

#endif
