/* What crosses the border between the programs and userspace: one definition. The Rust side is
   generated from it when tracexec is built. Plain integers and arrays only, each at its natural
   alignment. */
#ifndef TRACEXEC_INTERFACE_H
#define TRACEXEC_INTERFACE_H

/* --- the filter, from userspace to the kernel --------------------------------------------------- */

enum limit {
    MAX_TESTS = 32,
    MAX_STEPS = 96,
    MAX_RANGES = 4,
    TABLE_WORDS = 1 << 18, /* of all automata, u16 each */
    SLOTS = 1024, /* for what is stopped, a CPU */
    NO_SLOT = 0xffffffff,
};

/* What a test looks at. */
enum test_source {
    SOURCE_UNKNOWN, /* nothing that the kernel can decide */
    SOURCE_COMM,
    SOURCE_PREV_COMM,
    SOURCE_FILENAME,
    SOURCE_EXE_NAME, /* the last component of exe */
    SOURCE_UID,
    SOURCE_GID,
    SOURCE_PID,
    SOURCE_DEPTH,
    SOURCE_ARGV,  /* the whole block; its NUL bytes are what the automaton makes of them */
    SOURCE_ARG,   /* one element */
    SOURCE_ARGC,
};

/* The expression in postfix form. */
enum filter_step {
    STEP_AND = 0x40,
    STEP_OR = 0x41,
    /* below: push the answer of that test */
};

enum answer {
    ANSWER_NO,
    ANSWER_YES,
    ANSWER_UNKNOWN,
};

/* A test: an automaton over bytes, or ranges of a number. */
struct filter_test {
    enum test_source source;
    s32 index;     /* SOURCE_ARG: which; a negative one counts from the end */
    u32 negated;   /* the answer is turned around */
    u32 necessary; /* a match does not decide: it means unknown */
    u32 table;     /* where the automaton begins: 256 classes, then the rows */
    u32 stride;    /* words in a row; row 0 is dead, row 1 has accepted */
    u32 start;     /* where the first state's row begins, counted from the first row */
    u32 end_class; /* the class of the end of the input */
    u32 ranges;
    u32 low[MAX_RANGES];
    u32 high[MAX_RANGES];
};

/* --- events, from the kernel to userspace ------------------------------------------------------- */

enum event_kind {
    EVENT_SYSENTER,
    EVENT_SYSEXIT, /* the exec itself */
    EVENT_STRING,
    EVENT_FD,
    EVENT_PATH_SEGMENT,
    EVENT_PATH,
    EVENT_EXIT,
    EVENT_FORK,
};

/* What is not as it should be. */
enum event_flag {
    FLAG_ERROR = 0x1,
    FLAG_TOO_MANY_ITEMS = 0x2,
    FLAG_COMM_UNREADABLE = 0x4,
    FLAG_POSSIBLE_TRUNCATION = 0x8,
    FLAG_POINTER_UNREADABLE = 0x10,
    FLAG_NO_ROOM = 0x20,
    FLAG_STRING_UNREADABLE = 0x40,
    FLAG_FDS_UNREADABLE = 0x80,
    FLAG_OUTPUT_FAILED = 0x100,
    FLAG_FLAGS_UNREADABLE = 0x200,
    FLAG_DROPPED = 0x400, /* set in userspace */
    FLAG_BAILED_OUT = 0x800,
    FLAG_LOOP_FAILED = 0x1000,
    FLAG_PATH_UNREADABLE = 0x2000,
    FLAG_INODE_UNREADABLE = 0x4000,
    FLAG_MOUNT_ID_UNREADABLE = 0x8000,
    FLAG_FILENAME_UNREADABLE = 0x10000,
    FLAG_POSITION_UNREADABLE = 0x20000,
};

struct event_header {
    u64 id;      /* of the exec, fork or exit: unique as long as the programs are loaded */
    u32 counter; /* of the record among those of one id: a gap means a lost one */
    enum event_kind kind;
    u32 flags; /* of enum event_flag */
    s32 pid; /* in the pid namespace of tracexec */
};

/* An exec. */
struct exec_event {
    struct event_header header;
    u64 start_time; /* of the process, ns since boot: with the pid it names one process */
    s32 tgid;       /* in the pid namespace of tracexec; 0 where it is not seen there */
    s32 kernel_tgid;
    u32 uid; /* the effective ids */
    u32 gid;
    u32 depth;
    enum answer answer; /* of the filter, as far as the kernel could tell */
    u32 stopped; /* SIGSTOP has been sent */
    u32 traced;  /* somebody traces it, so that it was not stopped */
    s32 old_tid; /* of the thread that did it, which is the leader now */
    u32 slot;    /* where it is noted as stopped, or NO_SLOT */
    u8 comm[16];
    u8 prev_comm[16]; /* empty where it was not asked for */
};

/* Bytes that belong to the exec with the same id, and come before it. */
enum string_kind {
    STRING_ARGV, /* each string with its NUL */
    STRING_FILENAME,
};

struct string_event {
    struct event_header header;
    enum string_kind kind;
    u32 len;
};

/* A process, or a thread, has been made. */
struct fork_event {
    struct event_header header;
    s32 parent; /* kernel_tgid of the process that made it */
    s32 child;
};

/* A process, or a thread, has ended. */
struct exit_event {
    struct event_header header;
    s32 task;
    u32 whole_process;
    u32 code;
    u32 signal;
};

/* A slot for a process that was stopped. The programs fill it, and whoever has set the process running
   empties it by writing 0 to the tgid. It is memory that is shared, for while a process is in bpf(2)
   with a map, the kernel passes over all tracepoints' programs on its CPU; and where it is preempted
   there, they may be the programs of others' execs. */
struct stopped_process {
    u64 start_time;
    s32 tgid; /* as tracexec sees it */
    u32 padding;
};

struct counters {
    u64 execs;
    u64 not_stopped; /* matches for which there was no room, or no signal */
    u64 not_followed; /* processes that could not be added to the tree */
    u64 not_told;     /* events of the tree for which there was no room */
};

#endif
