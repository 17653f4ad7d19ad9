/* The kernel's types, as far as they are read. Their layout is not this one: CO-RE relocates each
   access to where the running kernel has the field (https://docs.kernel.org/bpf/libbpf/). */
#ifndef TRACEXEC_KERNEL_H
#define TRACEXEC_KERNEL_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed int s32;
typedef signed long long s64;

/* What <bpf/bpf_helpers.h> expects of a vmlinux.h. */
typedef u8 __u8;
typedef u16 __u16;
typedef u32 __u32;
typedef u64 __u64;
typedef signed short __s16;
typedef s32 __s32;
typedef s64 __s64;
typedef u16 __be16;
typedef u32 __be32;
typedef u32 __wsum;

enum {
    BPF_ANY = 0,
    BPF_F_NO_PREALLOC = 1,
    BPF_F_MMAPABLE = 1 << 10,
    BPF_RB_NO_WAKEUP = 1,
    BPF_RB_FORCE_WAKEUP = 2,
    BPF_MAP_TYPE_HASH = 1,
    BPF_MAP_TYPE_ARRAY = 2,
    BPF_MAP_TYPE_RINGBUF = 27,
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
    int counter;
} atomic_t;

typedef struct {
    u32 val;
} kuid_t;

typedef struct {
    u32 val;
} kgid_t;

struct ns_common {
    u32 inum;
};

struct pid_namespace {
    struct ns_common ns;
};

struct upid {
    int nr;
    struct pid_namespace *ns;
};

struct pid {
    u32 level;
    struct upid numbers[1];
};

struct cred {
    kuid_t euid;
    kgid_t egid;
};

struct signal_struct {
    atomic_t live;
};

struct qstr {
    u32 len;
    const u8 *name;
};

struct dentry {
    struct qstr d_name;
};

struct path {
    struct dentry *dentry;
};

struct file {
    struct path f_path;
};

struct mm_struct {
    unsigned long arg_start, arg_end;
    struct file *exe_file;
};

struct task_struct {
    int pid;
    int tgid;
    u32 ptrace;
    u64 start_boottime;
    struct task_struct *group_leader;
    struct pid *thread_pid;
    const struct cred *cred;
    struct mm_struct *mm;
    struct signal_struct *signal;
    int exit_code;
    char comm[16];
};

/* Before Linux 5.5 the field had another name. */
struct task_struct___before_5_5 {
    u64 real_start_time;
};

/* The records of tracepoints. */
struct trace_event_raw_sched_process_exec {
    u32 __data_loc_filename;
    s32 pid;
    s32 old_pid;
};

struct trace_event_raw_task_rename {
    s32 pid;
    char oldcomm[16];
};

struct trace_event_raw_sched_process_fork {
    s32 child_pid;
};

#pragma clang attribute pop

#endif
