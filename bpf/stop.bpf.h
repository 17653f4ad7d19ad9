/* Stopping a process, and the note of it that lets userspace, or its guardian, set it running. */
#ifndef TRACEXEC_STOP_BPF_H
#define TRACEXEC_STOP_BPF_H

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, SLOTS); /* userspace multiplies it by the number of CPUs */
    __type(key, u32);
    __type(value, struct stopped_process);
} stopped SEC(".maps");

/* In two steps, each a function of its own: the verifier follows every turn of a loop, which takes its time. */
#define SLOTS_AT_ONCE 32

/* Notes a process as stopped in one of these slots. */
__noinline u32 take_slot_from(u32 first, u64 start_time, s32 tgid)
{
    for (u32 i = 0; i < SLOTS_AT_ONCE; i++) {
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

/* Notes a process as stopped. Nobody else fills the slots of this CPU. */
__noinline u32 take_slot(u64 start_time, s32 tgid)
{
    u32 first = bpf_get_smp_processor_id() * SLOTS;
    for (u32 i = 0; i < SLOTS; i += SLOTS_AT_ONCE) {
        u32 slot = take_slot_from(first + i, start_time, tgid);
        if (slot != NO_SLOT)
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

/* Whether somebody else has it: traces it, or has sent it a SIGSTOP that is on its way. Whoever did that
   answers for it: a SIGCONT of ours would undo it, and the other one's would undo ours. */
static __always_inline int is_in_other_hands(struct task_struct *task)
{
    return traced_elsewhere(task) || stops_already(task);
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
    u32 slot = exec->seen ? take_slot(event->start_time, exec->seen) : NO_SLOT;
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
    bpf_ringbuf_submit(event, BPF_RB_FORCE_WAKEUP);
}

#endif
