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
    /* What goes past these is cut, and flagged. */
    MAX_STRING = 32 * 4096,     /* an argument, with its NUL; MAX_ARG_STRLEN of the kernel */
    MAX_STRINGS = 64 * 64 * 64, /* arguments and variables of an exec */
    MAX_BLOCK = 8 << 20,        /* argv or the environment, in bytes */
    MAX_TEXT = 1 << 16,         /* a path, in bytes */
    MAX_PATH_NAMES = 1 << 16,   /* and in names */
    MAX_GROUPS = 32,            /* of a process, beside its gids */
    MAX_FD_TURNS = 1 << 22, /* descriptors, and words of 64 bits that say which are open */
    MAX_CGROUPS = 64 * 64,      /* in a path */
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
    EVENT_SYSENTER, /* an exec has been asked for */
    EVENT_SYSEXIT,  /* the exec itself, or its failure; all that belongs to it came before */
    EVENT_STRING,
    EVENT_FD,
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

/* An exec that has been asked for, with the file name as it was passed behind it. Its descriptors follow,
   those among them that it closes. */
struct call_event {
    struct event_header header;
    u64 filename_len;
    u8 comm[16];
};

/* What was recorded of an exec, be it empty. */
enum recorded_part {
    RECORDED_ARGV = 1,
    RECORDED_ENV = 2,
    RECORDED_FDS = 4,
};

/* An exec. Times are as tracexec's time namespace has them. */
struct exec_event {
    struct event_header header;
    u64 start_time; /* of the process, ns since boot: with the pid it names one process */
    u64 time;       /* of the exec, ns since boot */
    s32 tgid;       /* in the pid namespace of tracexec; 0 where it is not seen there */
    s32 kernel_tgid;
    s32 parent; /* the process's parent now, in the pid namespace of tracexec */
    u32 uid;    /* the effective ids */
    u32 gid;
    u32 depth;
    enum answer answer; /* of the filter, as far as the kernel could tell */
    u32 stopped; /* SIGSTOP has been sent */
    u32 traced;  /* somebody else traces it, so that it was not stopped */
    u32 stops_already; /* somebody else has sent it a SIGSTOP, so that it was not stopped */
    s32 old_tid; /* of the thread that did it, which is the leader now */
    u32 slot;    /* where it is noted as stopped, or NO_SLOT */
    s32 result;  /* 0, or what the system call returned */
    /* The rest only where it was asked for. */
    u32 is_execveat;
    s32 dirfd; /* of execveat */
    u32 call_flags;
    u32 compat; /* of 32 bits: the program, or the failed call */
    u32 fds;    /* how many records of each kind there are */
    u32 paths;
    u32 strings;
    u32 pid_namespace; /* by the number that /proc/PID/ns shows */
    u32 mount_namespace;
    u32 recorded; /* of enum recorded_part */
    u32 uids[4]; /* real, effective, saved, of the file system */
    u32 gids[4];
    u32 group_count;
    u32 groups[MAX_GROUPS];
    u64 argv_len; /* in bytes, with the NULs */
    u64 env_len;
    u8 comm[16];
    u8 prev_comm[16]; /* empty where it was not asked for */
};

/* Bytes that belong to the exec with the same id, and come before it. A long text comes in several
   records, one behind the other. */
enum string_kind {
    STRING_ARGV, /* each string with its NUL */
    STRING_ENV,
    STRING_FILENAME,
    STRING_NAME, /* the first argument as it was passed, with its NUL */
};

struct string_event {
    struct event_header header;
    enum string_kind kind;
    u32 len; /* 0 with FLAG_STRING_UNREADABLE stands for one string */
};

/* An open descriptor. The name of its file system and its path, as in a path_event, follow. */
struct fd_event {
    struct event_header header;
    u32 number;
    u32 flags; /* of open(2) */
    u32 close_on_exec;
    u32 mode; /* of the inode */
    u32 device; /* of a device file */
    u32 mount_id;
    u64 inode;
    s64 position;
    u64 magic; /* of the file system, see statfs(2) */
    u32 type_len; /* without a NUL */
    u32 names;
    u32 apart;
    u32 deleted;
    u32 len;
    u32 padding;
};

enum path_kind {
    PATH_CWD,
    PATH_EXE,
    PATH_CGROUP,
};

/* A path: its names from the last to the first, each with its NUL, follow. */
struct path_event {
    struct event_header header;
    enum path_kind kind;
    u32 names;
    u32 apart;   /* it is no path but a name, of something that lies nowhere */
    u32 deleted;
    u32 len;
    u32 padding;
    u64 inode;
    u64 magic; /* of the file system, see statfs(2) */
};

/* A process, or a thread, has been made. */
struct fork_event {
    struct event_header header;
    s32 parent; /* kernel_tgid of the process that made it */
    s32 child;
    s32 seen_parent; /* the same as tracexec sees them, where lives are told; 0 for what it does not see */
    s32 seen_child;
    u32 is_thread;
    u32 padding;
    u64 time; /* ns since boot */
};

/* A process, or a thread, has ended. */
struct exit_event {
    struct event_header header;
    s32 task;
    u32 whole_process;
    u32 is_command;
    u32 code;
    u32 signal;
    u32 core; /* it was dumped */
    u64 time; /* ns since boot */
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
