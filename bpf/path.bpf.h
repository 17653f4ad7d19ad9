/* Paths of files, as /proc would show them to tracexec, and of control groups: from the last name to the
   first, each with its NUL byte, for userspace to turn around. */
#ifndef TRACEXEC_PATH_BPF_H
#define TRACEXEC_PATH_BPF_H

/* Where the text of a record begins that is made here; before it there is room for the record's head. The
   scratch's argv lies there, too: whoever wants that has had it by now. */
#define TEXT_AT 512
#define TEXT_MASK (MAX_TEXT - 1)
/* Of a name. */
#define NAME_ROOM 256
_Static_assert(TEXT_AT + MAX_TEXT + NAME_ROOM < FILENAME_AT, "texts must fit before the file name");

/* Where tracexec's own root lies, at which paths begin. */
const volatile u32 own_root_mount = 0;
const volatile u64 own_root_inode = 0;

/* Adds a name to the text; whether there is room for another. */
static __always_inline int add_name(struct scratch *scratch, struct walk *walk, const void *name)
{
    u32 at = walk->at & TEXT_MASK;
    long len = bpf_probe_read_kernel_str(scratch->bytes + TEXT_AT + at, NAME_ROOM, name);
    if (len <= 0) {
        walk->flags |= FLAG_PATH_UNREADABLE;
        return 0;
    }
    walk->names++;
    walk->at += len;
    if (walk->at >= MAX_TEXT - NAME_ROOM) {
        walk->flags |= FLAG_NO_ROOM | FLAG_POSSIBLE_TRUNCATION;
        return 0;
    }
    return 1;
}

/* Whether a path ends here: at our root. */
static __always_inline int is_own_root(struct dentry *dentry, struct mount *mount)
{
    return (u32)BPF_CORE_READ(mount, mnt_id) == own_root_mount &&
           BPF_CORE_READ(dentry, d_inode, i_ino) == own_root_inode;
}

/* Goes up by one name or mount. */
static __always_inline u32 walk_turn(void)
{
    struct scratch *scratch = scratch_of_cpu();
    if (!scratch)
        return 1;
    struct walk *walk = &scratch->walk;
    struct dentry *dentry = (void *)walk->at_dentry;
    struct mount *mount = (void *)walk->at_mount;
    if (dentry == BPF_CORE_READ(mount, mnt.mnt_root)) {
        struct mount *above = BPF_CORE_READ(mount, mnt_parent);
        if (!above || above == mount || is_own_root(dentry, mount)) {
            walk->ended = 1;
            return 1;
        }
        walk->at_dentry = (u64)BPF_CORE_READ(mount, mnt_mountpoint);
        walk->at_mount = (u64)above;
        return 0;
    }
    struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
    if (!parent || parent == dentry || is_own_root(dentry, mount) ||
        !add_name(scratch, walk, BPF_CORE_READ(dentry, d_name.name))) {
        walk->ended = 1;
        return 1;
    }
    walk->at_dentry = (u64)parent;
    return 0;
}

DEFINE_LOOP(walk_up, walk_turn, MAX_PATH_NAMES)

/* The path of a file, given by its dentry and its mount; its text begins at `at` behind TEXT_AT. */
__noinline u32 walk_from(u64 at_dentry, u64 at_mnt, u32 at)
{
    struct scratch *scratch = scratch_of_cpu();
    struct dentry *dentry = (void *)at_dentry;
    struct vfsmount *mnt = (void *)at_mnt;
    if (!scratch)
        return 1;
    struct walk *walk = &scratch->walk;
    __builtin_memset(walk, 0, sizeof *walk);
    walk->at = at;
    if (!dentry || !mnt) {
        walk->flags = FLAG_PATH_UNREADABLE;
        return 1;
    }
    walk->at_dentry = at_dentry;
    walk->at_mount = at_mnt - bpf_core_field_offset(struct mount, mnt);
    if (dentry == BPF_CORE_READ(dentry, d_parent) && dentry != BPF_CORE_READ(mnt, mnt_root)) {
        /* It lies nowhere, as pipes and sockets do; some have a name. */
        walk->apart = 1;
        add_name(scratch, walk, BPF_CORE_READ(dentry, d_name.name));
        return 0;
    }
    walk->deleted = !BPF_CORE_READ(dentry, d_hash.pprev) && dentry != BPF_CORE_READ(mnt, mnt_root);
    walk_up();
    if (!walk->ended)
        walk->flags |= FLAG_TOO_MANY_ITEMS | FLAG_POSSIBLE_TRUNCATION;
    return 0;
}

#endif
