/* The way to userspace. */
#ifndef TRACEXEC_EVENTS_BPF_H
#define TRACEXEC_EVENTS_BPF_H

/* Of the ring buffer, in bytes; userspace makes it larger where execs are recorded, and is woken when a quarter is
   full. */
#define EVENT_ROOM (1 << 20)
const volatile u64 event_room = EVENT_ROOM;

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, EVENT_ROOM);
} events SEC(".maps");

struct counters counters = {};

/* Relaxed, so that every clang makes it an addition without a result: one with a result, which Linux has
   had since 5.12 only, is refused before. */
#define ADD_ONE(number) ((void)__atomic_fetch_add(&(number), 1, __ATOMIC_RELAXED))

/* 1 as long as userspace looks by itself from time to time, else 0. */
u8 looks = 0;

/* Whether userspace is to be woken for a record that can wait. Without a branch, of which the verifier would follow
   both sides. */
static __always_inline u64 when_full(void)
{
    u64 available = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);
    u64 wakes = (looks ^ 1) | (event_room / 4 - available) >> 63;
    return BPF_RB_NO_WAKEUP + wakes;
}
_Static_assert(BPF_RB_NO_WAKEUP + 1 == BPF_RB_FORCE_WAKEUP, "the flags are one apart");

/* The head of a record that belongs to the exec at hand. */
static __always_inline void begin_record(struct event_header *header, struct exec *exec, u32 kind, u32 flags)
{
    header->id = exec->id;
    header->counter = exec->records++;
    header->kind = kind;
    header->flags = flags;
    header->pid = exec->seen;
}

/* Sends a record that lies in the scratch, of at most so many bytes. The size is checked at the last moment, in
   the register in which it is passed on: before Linux 6.8 the verifier does not connect a copy. */
static __always_inline void send(struct exec *exec, void *record, u64 size, u64 most)
{
    u64 flags = when_full();
    asm volatile("" : "+r"(size));
    if (size > most || bpf_ringbuf_output(&events, record, size, flags)) {
        exec->flags |= FLAG_OUTPUT_FAILED;
        ADD_ONE(counters.not_told);
    }
}

#endif
