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
    BPF_RB_AVAIL_DATA = 0,
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

struct mnt_namespace {
    struct ns_common ns;
};

struct nsproxy {
    struct mnt_namespace *mnt_ns;
};

struct upid {
    int nr;
    struct pid_namespace *ns;
};

struct pid {
    u32 level;
    struct upid numbers[1];
};

struct group_info {
    int ngroups;
    kgid_t gid[1];
};

struct cred {
    kuid_t uid, euid, suid, fsuid;
    kgid_t gid, egid, sgid, fsgid;
    struct group_info *group_info;
};

struct list_head {
    struct list_head *next, *prev;
};

typedef struct {
    unsigned long sig[1];
} sigset_t;

struct sigpending {
    sigset_t signal;
};

struct signal_struct {
    atomic_t live;
    struct list_head thread_head;
    struct sigpending shared_pending;
    int group_exit_code;
    u32 flags;
};

struct qstr {
    u32 len;
    const u8 *name;
};

struct file_system_type {
    const char *name;
};

struct super_block {
    u32 s_dev;
    unsigned long s_magic;
    struct file_system_type *s_type;
};

struct inode {
    u16 i_mode;
    u32 i_rdev;
    unsigned long i_ino;
    struct super_block *i_sb;
};

struct hlist_bl_node {
    struct hlist_bl_node **pprev;
};

struct dentry {
    struct hlist_bl_node d_hash;
    struct dentry *d_parent;
    struct qstr d_name;
    struct inode *d_inode;
};

struct vfsmount {
    struct dentry *mnt_root;
};

struct mount {
    struct mount *mnt_parent;
    struct dentry *mnt_mountpoint;
    struct vfsmount mnt;
    int mnt_id;
};

struct path {
    struct vfsmount *mnt;
    struct dentry *dentry;
};

struct file {
    u32 f_flags;
    s64 f_pos;
    struct inode *f_inode;
    struct path f_path;
};

struct fdtable {
    u32 max_fds;
    struct file **fd;
    unsigned long *close_on_exec;
    unsigned long *open_fds;
};

struct files_struct {
    struct fdtable *fdt;
};

struct fs_struct {
    struct path pwd;
};

struct kernfs_node {
    struct kernfs_node *__parent;
    const char *name;
};

/* Before Linux 6.15 the field had another name. */
struct kernfs_node___before_6_15 {
    struct kernfs_node *parent;
};

struct cgroup {
    struct kernfs_node *kn;
};

struct css_set {
    struct cgroup *dfl_cgrp;
};

struct mm_struct {
    unsigned long arg_start, arg_end, env_start, env_end;
    struct file *exe_file;
};

struct thread_info {
    u32 status;
};

struct task_struct {
    struct thread_info thread_info;
    int pid;
    int tgid;
    u32 ptrace;
    u64 start_boottime;
    struct task_struct *group_leader;
    struct task_struct *real_parent;
    struct list_head children;
    struct list_head sibling;
    struct list_head thread_node;
    struct task_struct *parent; /* the tracer, where there is one */
    struct pid *thread_pid;
    const struct cred *cred;
    struct mm_struct *mm;
    struct signal_struct *signal;
    struct sigpending pending;
    struct files_struct *files;
    struct fs_struct *fs;
    struct nsproxy *nsproxy;
    struct css_set *cgroups;
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

/* The registers at a system call, as far as it is told by them. */
struct pt_regs {
#if defined(__TARGET_ARCH_x86)
    unsigned long r10, r8, bx, cx, dx, si, di, orig_ax;
#else
    u64 regs[31];
    s32 syscallno;
#endif
};

struct trace_event_raw_task_rename {
    s32 pid;
    char oldcomm[16];
};

struct trace_event_raw_sched_process_fork {
    s32 child_pid;
};

#pragma clang attribute pop

/* What a raw tracepoint passes to its program. */
struct bpf_raw_tracepoint_args {
    u64 args[0];
};

#endif
