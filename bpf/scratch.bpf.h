/* A CPU's room to work in: classic tracepoints are not preempted, and do not nest. */
#ifndef TRACEXEC_SCRATCH_BPF_H
#define TRACEXEC_SCRATCH_BPF_H

/* argv, then the short texts; before argv and the file name there is room for the head of the record with
   which they go to userspace. */
#define SCRATCH (1 << 18)
#define SCRATCH_MASK (SCRATCH - 1)
#define ARGV_AT 64
#define ARGV_ROOM (SCRATCH - 16384)
#define FILENAME_AT (SCRATCH - 8192)
#define FILENAME_ROOM 4096
#define COMM_AT (FILENAME_AT + FILENAME_ROOM)
#define PREV_COMM_AT (COMM_AT + 64)
#define COMM_ROOM 16
#define EXE_AT (PREV_COMM_AT + 64)
#define EXE_ROOM 256

/* Loops nest three deep, since the verifier follows each turn of each of them: 3 * 64 instead of 64^3. */
#define TURNS 64
#define CHUNK TURNS
#define BLOCK (TURNS * CHUNK)
_Static_assert(SCRATCH == TURNS * BLOCK, "three loops must cover the scratch");

/* What is known of the exec at hand, for the filter; a length of NOT_READ is that of a text that could not
   be read. */
struct facts {
    u32 filename_len;
    u32 comm_len;
    u32 prev_comm_len;
    u32 exe_len;
    u32 uid;
    u32 gid;
    u32 pid;
    u32 depth;
    u32 argv_len;
    u32 argv_cut;
    u32 argc;
};

#define NOT_READ 0xffffffffu

/* The exec at hand, and what was told of it. */
struct exec {
    u64 id;
    s32 tgid;
    s32 seen; /* the tgid as tracexec sees it */
    s32 old_tid;
    u32 depth;
    u32 argv_read;
    u32 flags;
    u32 records;
    u32 fds;
    u32 paths;
    u32 strings;
};

/* What the tests say of the ancestors, two bits each. */
struct kin {
    u64 parent;
    u64 any;
    u64 yes;
    u64 unknown;
};

/* On the way up from a file. */
struct walk {
    u64 at_dentry;
    u64 at_mount;
    u32 at; /* in the text */
    u32 names;
    u32 flags;
    u32 apart;
    u32 deleted;
    u32 ended;
};

/* Of the strings of a vector, what is gathered for one record, before the last of them. */
#define GATHERED (1 << 16)

/* The strings of a failed call on their way out. */
struct vector {
    u64 next; /* where the next one's address lies */
    u64 len;  /* of all, in bytes */
    u64 fill;
    u32 kind;
    u32 compat;
    u32 flags; /* of what was gathered */
    u32 ended;
};

/* The descriptors of a process, as they are passed through. */
struct table {
    u64 files_at;
    u64 open_at; /* bits that say which are open */
    u64 closing_at;
    u64 open; /* of the word at hand, those that are still to be told */
    u64 closing;
    u32 next; /* word */
    u32 words;
    u32 ended;
    u32 padding;
};

struct scratch {
    u8 bytes[SCRATCH];
    struct facts facts;
    struct exec exec;
    struct kin kin;
    struct walk walk;
    struct vector vector;
    struct table table;
    u64 ids; /* how many this CPU has given out */
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1); /* userspace sets the number of CPUs */
    __type(key, u32);
    __type(value, struct scratch);
} scratches SEC(".maps");

/* Bounds a number so that the verifier sees it where it is used: clang keeps what is masked in this way. */
#define bounded(number, mask)                                                                                      \
    do {                                                                                                           \
        asm volatile("" : "+r"(number));                                                                           \
        (number) &= (mask);                                                                                        \
    } while (0)

/* Older kernels count the NUL of a user's string but where there is nothing else. */
static __always_inline u32 text_len(long read)
{
    return read > 0 ? read - 1 : read == 0 ? 0 : NOT_READ;
}

/* Whether a string is longer than the `room` in which its beginning was read, NUL included: a helper that fills
   the room always ends it with a NUL. */
static __always_inline u32 is_cut(u64 address, long read, u64 room)
{
    u8 last = 1;
    return read == (long)room && (bpf_probe_read_user(&last, 1, (void *)(address + room - 1)) || last);
}

static __always_inline struct scratch *scratch_of_cpu(void)
{
    u32 cpu = bpf_get_smp_processor_id();
    return bpf_map_lookup_elem(&scratches, &cpu);
}

/* A number that no other event has. */
static __always_inline u64 new_id(void)
{
    struct scratch *scratch = scratch_of_cpu();
    return scratch ? (u64)bpf_get_smp_processor_id() << 48 | scratch->ids++ : 0;
}

#endif
