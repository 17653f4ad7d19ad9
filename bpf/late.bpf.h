/* Strings of failed calls that lie in pages which nobody has touched. A tracepoint may not wait for them; a
   piece of work that the kernel does on the way back to the process may (Linux 6.18 and later). */
#ifndef TRACEXEC_LATE_BPF_H
#define TRACEXEC_LATE_BPF_H

#define LATE_SLOTS 64
/* What is read at a time. */
#define LATE_CHUNK 4096
#define LATE_ROOM (2 * LATE_CHUNK)
/* Each but the last piece of the longest string brings one byte less, since it ends with a NUL. */
#define LATE_PIECES (MAX_STRING / (LATE_CHUNK - 1) + 1)
#define LAST_PIECE (MAX_STRING - (LATE_PIECES - 1) * (LATE_CHUNK - 1))

struct bpf_task_work {
    u64 __opaque;
} __attribute__((aligned(8)));

struct late {
    struct bpf_task_work work;
    s32 tid; /* whose call it is; 0 if the slot is free */
    u32 fill;
    u64 len;
    s64 result;
    u32 flags; /* of what was gathered */
    u32 padding;
    struct call call;
    struct string_event event; /* the bytes follow */
    u8 bytes[LATE_ROOM];
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, LATE_SLOTS);
    __type(key, u32);
    __type(value, struct late);
} late_calls SEC(".maps");

/* Compiled with it and without, see src/source/ebpf.rs. */
#ifdef READS_LATE

/* Defined, since libbpf compares the kinds of types with the kernel's. */
struct bpf_map {
    u32 id;
};

struct bpf_iter_num {
    u64 __opaque[1];
} __attribute__((aligned(8)));

typedef int (*task_work)(struct bpf_map *map, void *key, void *value);

/* Linux 6.18 has the first, later ones the second; there the verifier adds what is missing. */
extern int bpf_task_work_schedule_signal_impl(struct task_struct *task, struct bpf_task_work *work, void *map__map,
                                              task_work callback, void *aux__prog) __ksym __weak;
extern int bpf_task_work_schedule_signal(struct task_struct *task, struct bpf_task_work *work, void *map__map,
                                         task_work callback) __ksym __weak;
extern int bpf_copy_from_user_str(void *to, u32 size, const void *from, u64 flags) __ksym __weak;

static __always_inline u32 slot_of(s32 tid)
{
    return tid & (LATE_SLOTS - 1);
}

/* Sends what was gathered of a thread's call. A global function, which the verifier follows once. */
__noinline u32 send_late(s32 tid, u32 kind, u32 flags)
{
    u32 slot = slot_of(tid);
    struct late *late = bpf_map_lookup_elem(&late_calls, &slot);
    if (!late)
        return 1;
    u64 len = late->fill;
    if (len > LATE_ROOM)
        return 1;
    flags |= late->flags;
    late->flags = 0;
    begin_record(&late->event.header, &late->call.exec, EVENT_STRING, flags);
    late->event.kind = kind;
    late->event.len = len;
    late->call.exec.strings++;
    send(&late->call.exec, &late->event, sizeof late->event + len, sizeof late->event + LATE_ROOM);
    late->len += len;
    late->fill = 0;
    return 0;
}

static __always_inline void flush_late(struct late *late, u32 kind, u32 flags)
{
    send_late(late->tid, kind, flags);
}

/* Gathers a string, piece by piece. */
static __noinline void gather_late(struct late *late, u64 address, u32 kind)
{
    u32 i;
    bpf_for(i, 0, LATE_PIECES) {
        u32 is_last = i == LATE_PIECES - 1;
        if (late->fill >= LATE_CHUNK)
            flush_late(late, kind, 0);
        u64 fill = late->fill;
        bounded(fill, LATE_CHUNK - 1);
        u32 room = is_last ? LAST_PIECE : LATE_CHUNK;
        int len = bpf_copy_from_user_str(late->bytes + fill, room, (void *)address, 0);
        if (len <= 0) {
            if (late->fill)
                flush_late(late, kind, 0);
            flush_late(late, kind, FLAG_STRING_UNREADABLE);
            return;
        }
        /* A piece that fills its room ends with a NUL, be it the string's own or not. */
        u8 last = 1;
        bpf_copy_from_user(&last, 1, (void *)(address + len - 1));
        if (last && is_last)
            late->flags |= FLAG_POSSIBLE_TRUNCATION;
        if (!last || is_last) {
            late->fill = fill + len;
            return;
        }
        late->fill = fill + len - 1;
        address += len - 1;
    }
}

/* Sends the strings of a vector; how many bytes they are. */
static __noinline u64 tell_late(struct late *late, u64 next, u32 kind)
{
    u32 i, ended = 0, size = late->call.compat ? 4 : 8;
    late->len = 0;
    late->fill = 0;
    late->flags = 0;
    if (!next)
        return 0;
    bpf_for(i, 0, MAX_STRINGS) {
        u64 address = 0;
        u32 narrow = 0;
        long failed;
        if (late->call.compat) {
            failed = bpf_copy_from_user(&narrow, sizeof narrow, (void *)next);
            address = narrow;
        } else {
            failed = bpf_copy_from_user(&address, sizeof address, (void *)next);
        }
        if (failed)
            late->flags |= FLAG_POINTER_UNREADABLE;
        if (failed || !address) {
            ended = 1;
            break;
        }
        if (late->len + late->fill > MAX_BLOCK) {
            late->flags |= FLAG_POSSIBLE_TRUNCATION;
            ended = 1;
            break;
        }
        gather_late(late, address, kind);
        next += size;
    }
    if (!ended)
        late->flags |= FLAG_TOO_MANY_ITEMS;
    if (late->fill || late->flags)
        flush_late(late, kind, 0);
    return late->len;
}

/* Nothing of the slot is read or written after this, whatever the processor. */
static __always_inline void free_slot(struct late *late)
{
    __sync_val_compare_and_swap(&late->tid, late->tid, 0);
}

static int finish_late(struct bpf_map *map, void *key, void *value)
{
    struct late *late = value;
    u64 argv_len = tell_late(late, late->call.argv, STRING_ARGV);
    u64 env_len = records_env ? tell_late(late, late->call.envp, STRING_ENV) : 0;
    tell_result(&late->call, late->result, argv_len, env_len);
    free_slot(late);
    return 0;
}

/* Has the strings of a failed call read in time; whether that will be done. */
static __always_inline int read_late(struct call *call, s32 tid, s64 result)
{
    u32 slot = slot_of(tid);
    struct late *late = bpf_map_lookup_elem(&late_calls, &slot);
    /* Of threads on several CPUs that want the slot one gets it. */
    if (!late || !__sync_bool_compare_and_swap(&late->tid, 0, tid))
        return 0;
    late->result = result;
    late->call = *call;
    struct task_struct *task = bpf_get_current_task_btf();
    int failed;
    if (bpf_ksym_exists(bpf_task_work_schedule_signal))
        failed = bpf_task_work_schedule_signal(task, &late->work, &late_calls, finish_late);
    else
        failed = bpf_task_work_schedule_signal_impl(task, &late->work, &late_calls, finish_late, 0);
    if (!failed)
        return 1;
    free_slot(late);
    return 0;
}

#else

static __always_inline int read_late(struct call *call, s32 tid, s64 result)
{
    return 0;
}

#endif

#endif
