/* Programs and maps only: which execs there are, which of them may match, and how those are stopped.

   Classic tracepoints: they are never skipped for having been preempted, and load everywhere. */
#include "kernel.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#include "interface.h"
#include "scratch.bpf.h"
#include "loop.bpf.h"
#include "events.bpf.h"
#include "tree.bpf.h"
#include "filter.bpf.h"
#include "kin.bpf.h"
#include "path.bpf.h"
#include "record.bpf.h"
#include "stop.bpf.h"
#include "call.bpf.h"
#include "late.bpf.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* As many execs are told that passed the same number of tests. */
#define NEAR_EACH 6
/* Of the argv of those, in bytes. */
#define NEAR_ARGV 4096

/* Set before the programs are loaded; what is not needed is then dead code. */
const volatile u8 tells_lives = 0;    /* every process that is made, and every one that ends */
const volatile u8 tells_tree = 0;     /* every fork, exec and exit of the tree */
const volatile u8 tells_argv = 0;     /* ... with this of each exec */

/* Changed while they run. */
u8 enabled = 0;
u32 near_told[MAX_TESTS + 1] = {}; /* how many execs were told that passed so many tests */

/* Named in data, so that the generated bindings have these types too. */
const volatile struct exec_event unused_exec_event = {};
const volatile struct call_event unused_call_event = {};
const volatile struct string_event unused_string_event = {};
const volatile struct fd_event unused_fd_event = {};
const volatile struct path_event unused_path_event = {};
const volatile struct fork_event unused_fork_event = {};
const volatile struct exit_event unused_exit_event = {};
const volatile enum limit unused_limit = 0;
const volatile enum event_flag unused_event_flag = 0;
const volatile enum recorded_part unused_recorded_part = 0;
const volatile enum path_kind unused_path_kind = 0;
const volatile enum filter_step unused_filter_step = 0;

/* Reads what the tests ask for and argv is not. */
static __always_inline void read_facts(struct trace_event_raw_sched_process_exec *ctx, struct task_struct *task,
                                       struct exec *exec)
{
    struct scratch *scratch = scratch_of_cpu();
    if (!scratch)
        return;
    struct facts *facts = &scratch->facts;
    read_own(scratch, task);
    facts->pid = exec->seen;
    facts->depth = exec->depth;
    const char *filename = (const char *)ctx + (ctx->__data_loc_filename & 0xffff);
    facts->filename_len =
        text_len(bpf_probe_read_kernel_str(scratch->bytes + FILENAME_AT, FILENAME_ROOM, filename));
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
    scratch->facts.argc = wants_argc ? count_strings(len) : 0;
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

/* Sends bytes of the scratch that the filter has asked for. */
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
    begin_record(&event->header, exec, EVENT_STRING, flags);
    event->kind = kind;
    event->len = len;
    exec->strings++;
    send(exec, event, sizeof *event + len, sizeof *event + most);
}

/* Records an exec: all that userspace wants to know of it. */
static __always_inline void record(struct task_struct *task, struct exec *exec, u32 answer)
{
    struct scratch *scratch = scratch_of_cpu();
    if (!scratch)
        return;
    if (scratch->facts.filename_len == NOT_READ)
        exec->flags |= FLAG_FILENAME_UNREADABLE;
    else
        tell_string(exec, FILENAME_AT, scratch->facts.filename_len, STRING_FILENAME, FILENAME_ROOM, 0);
    struct mm_struct *mm = BPF_CORE_READ(task, mm);
    u64 env_len = 0, start = BPF_CORE_READ(mm, env_start), end = BPF_CORE_READ(mm, env_end);
    u64 argv_len = tell_block(BPF_CORE_READ(mm, arg_start), BPF_CORE_READ(mm, arg_end), STRING_ARGV);
    if (records_env)
        env_len = tell_block(start, end, STRING_ENV);
    if (argv_len > MAX_BLOCK || env_len > MAX_BLOCK)
        exec->flags |= FLAG_POSSIBLE_TRUNCATION;
    struct file *file = BPF_CORE_READ(mm, exe_file);
    tell_path(PATH_EXE, BPF_CORE_READ(file, f_path.dentry), BPF_CORE_READ(file, f_path.mnt));
    if (records_cwd)
        tell_path(PATH_CWD, BPF_CORE_READ(task, fs, pwd.dentry), BPF_CORE_READ(task, fs, pwd.mnt));
    if (records_cgroup)
        tell_cgroup();
    /* After a call that was told they have been told, too, those that are closed by now among them. */
    if (records_fds && !exec->fds)
        tell_fds();
    struct exec_event *event = bpf_ringbuf_reserve(&events, sizeof *event, 0);
    if (!event) {
        ADD_ONE(counters.not_told);
        return;
    }
    fill(event, task, exec, answer);
    describe(event, task, exec);
    event->argv_len = argv_len;
    event->env_len = env_len;
    if (records_calls)
        finish_call(exec, event);
    bpf_ringbuf_submit(event, when_full());
}

/* Tells of an exec that runs on. */
static __always_inline void tell(struct task_struct *task, struct exec *exec, u32 answer, u32 most_argv)
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
        if (answer != ANSWER_NO || tells_tree)
            ADD_ONE(counters.not_told);
        return;
    }
    fill(event, task, exec, answer);
    if (exec->argv_read)
        event->recorded = RECORDED_ARGV;
    bpf_ringbuf_submit(event, answer == ANSWER_NO ? when_full() : BPF_RB_FORCE_WAKEUP);
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

/* The exec at hand, if it is watched; what the filter may ask of it is read. */
static __always_inline struct exec *begin(struct trace_event_raw_sched_process_exec *ctx, struct task_struct *task)
{
    struct scratch *scratch = scratch_of_cpu();
    if (!scratch || !enabled)
        return 0;
    struct exec *exec = &scratch->exec;
    __builtin_memset(exec, 0, sizeof *exec);
    exec->tgid = bpf_get_current_pid_tgid() >> 32;
    exec->old_tid = ctx->old_pid;
    exec->seen = own_view(task);
    u32 depth = 0;
    if (!is_watched(ctx, exec->tgid, exec->seen, &depth))
        return 0;
    exec->depth = depth;
    exec->id = new_id();
    ADD_ONE(counters.execs);
    ask_kin(exec->tgid);
    read_facts(ctx, task, exec);
    return exec;
}

/* The filter's answer, and those of its tests. */
static __always_inline u32 judge(struct task_struct *task, struct exec *exec, u64 *answers)
{
    struct scratch *scratch = scratch_of_cpu();
    if (!scratch)
        return ANSWER_UNKNOWN;
    u64 own = cheap_answers();
    *answers = stated(with_kin(own, &scratch->kin));
    u32 answer = evaluate(*answers);
    u32 argv_decides = answer == ANSWER_UNKNOWN && wants_argv;
    if ((argv_decides || kin_wants_argv) && !read_argv(task, exec)) {
        own = argv_answers(own);
        *answers = stated(with_kin(own, &scratch->kin));
        answer = evaluate(*answers);
    }
    keep_answers(exec->tgid, own);
    return answer;
}

SEC("tp/sched/sched_process_exec")
int handle_exec(struct trace_event_raw_sched_process_exec *ctx)
{
    struct task_struct *task = (void *)bpf_get_current_task();
    struct exec *exec = begin(ctx, task);
    if (!exec)
        return 0;
    u64 answers;
    u32 answer = judge(task, exec, &answers);
    u32 wanted = answer != ANSWER_NO, elsewhere = wanted && is_in_other_hands(task);
    if (wanted && !elsewhere) {
        stop(task, exec, answer);
    } else if (elsewhere || tells_tree || is_near(answers)) {
        if (!exec->argv_read)
            read_argv(task, exec);
        tell(task, exec, answer, elsewhere || tells_argv ? ARGV_ROOM : NEAR_ARGV);
    }
    return 0;
}

/* The same where every exec that may match is recorded, and none is stopped. */
SEC("tp/sched/sched_process_exec")
int record_exec(struct trace_event_raw_sched_process_exec *ctx)
{
    struct task_struct *task = (void *)bpf_get_current_task();
    struct exec *exec = begin(ctx, task);
    if (!exec)
        return 0;
    if (records_calls)
        resume_call(exec);
    u64 answers = 0;
    u32 answer = judge(task, exec, &answers);
    u32 near = is_near(answers);
    if (answer != ANSWER_NO || tells_tree) {
        record(task, exec, answer);
    } else if (near || records_calls) {
        /* A call that was told of must be told to be over. */
        if (near && !exec->argv_read)
            read_argv(task, exec);
        tell(task, exec, ANSWER_NO, NEAR_ARGV);
    }
    if (records_calls)
        bpf_map_delete_elem(&calls, &exec->old_tid);
    return 0;
}

/* Raw tracepoints: what is made for the others before their program runs would cost every system call of the
   machine more than the program does. */
SEC("raw_tp/sys_enter")
int handle_enter(struct bpf_raw_tracepoint_args *ctx)
{
    s64 number = ctx->args[1];
    if (!may_be_exec(number) || !enabled)
        return 0;
    struct task_struct *task = (void *)bpf_get_current_task();
    struct call call = {};
    enum which_call which = which_call(task, number, &call.compat);
    if (which == NO_EXEC)
        return 0;
    call.is_execveat = which == IS_EXECVEAT;
    read_arguments((void *)ctx->args[0], &call, call.compat && number < X32_BIT);
    enter_call(task, &call);
    return 0;
}

/* The call of an exec that has failed. */
static __always_inline struct call *failed_call(struct bpf_raw_tracepoint_args *ctx, s32 *tid)
{
    s64 result = ctx->args[1];
    if (result >= 0 || result < -MAX_ERRNO || !may_be_exec(number_of((void *)ctx->args[0])))
        return 0;
    *tid = bpf_get_current_pid_tgid();
    return bpf_map_lookup_elem(&calls, tid);
}

SEC("raw_tp/sys_exit")
int handle_return(struct bpf_raw_tracepoint_args *ctx)
{
    s32 tid;
    struct call *call = failed_call(ctx, &tid);
    if (!call)
        return 0;
    begin_failure(call);
    finish_failure(call, ctx->args[1]);
    bpf_map_delete_elem(&calls, &tid);
    return 0;
}

/* The same where the kernel can wait for the process's memory. */
SEC("raw_tp/sys_exit")
int handle_return_late(struct bpf_raw_tracepoint_args *ctx)
{
    s32 tid;
    struct call *call = failed_call(ctx, &tid);
    if (!call)
        return 0;
    begin_failure(call);
    if (!read_late(call, tid, ctx->args[1]))
        finish_failure(call, ctx->args[1]);
    bpf_map_delete_elem(&calls, &tid);
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
/* Tells of a process or thread that was made. */
static __always_inline void tell_fork(s32 parent, s32 child)
{
    struct task_struct *task = (void *)bpf_get_current_task();
    struct fork_event event = {
        .header = {.id = new_id(), .kind = EVENT_FORK, .pid = child},
        .parent = parent,
        .child = child,
    };
    if (tells_lives) {
        event.time = seen_time();
        event.seen_parent = own_view(task);
        event.is_thread = is_new_thread(task, child);
        event.seen_child = event.is_thread ? 0 : seen_child(task, child);
    }
    if (bpf_ringbuf_output(&events, &event, sizeof event, when_full()))
        ADD_ONE(counters.not_told);
}

SEC("tp/sched/sched_process_fork")
int handle_fork(struct trace_event_raw_sched_process_fork *ctx)
{
    s32 parent = bpf_get_current_pid_tgid() >> 32;
    s32 child = ctx->child_pid;
    u32 depth;
    if (!enabled)
        return 0;
    struct member *known = bpf_map_lookup_elem(&tree, &parent);
    if (known) {
        /* Until it executes something its program is its parent's. */
        struct member member = {
            .depth = known->depth + 1,
            .parent = parent,
            .id = new_id(),
            .parent_id = known->id,
            .answers = known->answers,
        };
        if (bpf_map_update_elem(&tree, &child, &member, BPF_ANY))
            ADD_ONE(counters.not_followed);
    }
    if ((known && tells_tree) || (tells_lives && is_member(parent, &depth)))
        tell_fork(parent, child);
    if (whole_system && bpf_map_lookup_elem(&exempt, &parent)) {
        u8 one = 1;
        bpf_map_update_elem(&exempt, &child, &one, BPF_ANY);
    }
    return 0;
}

static __always_inline void tell_exit(struct task_struct *task, s32 id, u32 whole_process, u32 is_command)
{
    /* As wait(2) will give it, see wait_task_zombie in the kernel. */
    int by_all = BPF_CORE_READ(task, signal, flags) & SIGNAL_GROUP_EXIT;
    u32 code = by_all          ? BPF_CORE_READ(task, signal, group_exit_code)
               : whole_process ? BPF_CORE_READ(task, group_leader, exit_code)
                               : BPF_CORE_READ(task, exit_code);
    struct exit_event event = {
        .header = {.id = new_id(), .kind = EVENT_EXIT, .pid = own_view(task)},
        .task = id,
        .whole_process = whole_process,
        .is_command = is_command,
        .code = code >> 8 & 0xff,
        .signal = code & 0x7f,
        .core = code >> 7 & 1,
        .time = seen_time(),
    };
    if (bpf_ringbuf_output(&events, &event, sizeof event, when_full()))
        ADD_ONE(counters.not_told);
}

/* A task is no more. */
static __always_inline void forget(struct task_struct *task, s32 id, u32 whole_process)
{
    struct member *member = bpf_map_lookup_elem(&tree, &id);
    if (member ? tells_tree || (tells_lives && whole_process)
               : tells_lives && whole_process && enabled && whole_system && !bpf_map_lookup_elem(&exempt, &id))
        tell_exit(task, id, whole_process, member && member->depth == 0);
    if (member)
        bpf_map_delete_elem(&tree, &id);
    if (whole_system || whole_process) {
        s32 seen = own_namespace == FIRST_NAMESPACE ? id : own_view(task);
        /* Most are none, and a look needs no lock. */
        if (bpf_map_lookup_elem(&exempt, &seen))
            bpf_map_delete_elem(&exempt, &seen);
    }
    bpf_map_delete_elem(&names, &id);
    if (records_calls)
        bpf_map_delete_elem(&calls, &id);
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
