/* Tests on parents and ancestors. In a tree each process keeps the answers of its own program, for the sake of
   those that it forks; among the whole system's they are asked of the parents that there are now. */
#ifndef TRACEXEC_KIN_BPF_H
#define TRACEXEC_KIN_BPF_H

/* Which tests are on the parent, which on any ancestor: both bits of an answer. */
const volatile u64 parent_tests = 0;
const volatile u64 ancestor_tests = 0;
/* Whether some of those are on argv. */
const volatile u8 kin_wants_argv = 0;

/* As many ancestors are asked; where there are more, the answer is unknown unless it is yes. */
#define KIN_DEPTH 32

/* The answers for a process, given its own program's and its ancestors'. */
static __always_inline u64 with_kin(u64 own, struct kin *kin)
{
    return (own & ~(parent_tests | ancestor_tests)) | (kin->parent & parent_tests) | (kin->any & ancestor_tests);
}

/* Adds the answers of one more ancestor. */
static __always_inline void add_kin(struct kin *kin, u32 level, u64 answers)
{
    if (level == 0)
        kin->parent = answers;
    kin->yes |= answers & YES_BITS;
    kin->unknown |= answers >> 1 & YES_BITS;
}

static __always_inline void end_kin(struct kin *kin, u32 is_whole)
{
    if (!is_whole)
        kin->unknown = YES_BITS;
    kin->any = kin->yes | (kin->unknown & ~kin->yes) << 1;
}

/* Asks the ancestors of a member of the tree. */
__noinline u32 ask_tree(s32 tgid)
{
    struct scratch *scratch = scratch_of_cpu();
    struct member *member = bpf_map_lookup_elem(&tree, &tgid);
    if (!scratch || !member)
        return 0;
    struct kin *kin = &scratch->kin;
    __builtin_memset(kin, 0, sizeof *kin);
    u32 depth = member->depth, is_whole = 0;
    u64 id = member->parent_id;
    s32 above = member->parent;
    for (u32 level = 0; level < KIN_DEPTH; level++) {
        if (depth == 0) {
            is_whole = 1;
            break;
        }
        struct member *ancestor = bpf_map_lookup_elem(&tree, &above);
        /* It has ended; its number may be another's by now. */
        if (!ancestor || ancestor->id != id) {
            if (level == 0)
                kin->parent = YES_BITS << 1;
            break;
        }
        add_kin(kin, level, ancestor->answers);
        depth = ancestor->depth;
        id = ancestor->parent_id;
        above = ancestor->parent;
    }
    end_kin(kin, is_whole);
    return 0;
}

/* The answers of a running process's program, as far as they can be had from outside. */
__noinline u64 answers_of(u64 address)
{
    struct scratch *scratch = scratch_of_cpu();
    struct task_struct *task = (void *)address;
    u64 answers = 0;
    if (!scratch)
        return YES_BITS << 1;
    read_own(scratch, task);
    scratch->facts.filename_len = NOT_READ;
    scratch->facts.prev_comm_len = NOT_READ;
    for (u32 i = 0; i < MAX_TESTS; i++) {
        if (i >= test_count)
            break;
        u32 source = tests[i].source;
        u32 seen = source == SOURCE_COMM || source == SOURCE_EXE_NAME || source == SOURCE_UID || source == SOURCE_GID;
        answers |= (u64)(seen ? test_cheap(i) & 3 : ANSWER_UNKNOWN) << (2 * i);
    }
    return answers;
}

/* Asks the parents that the current process has. */
__noinline u32 ask_parents(void)
{
    struct scratch *scratch = scratch_of_cpu();
    struct task_struct *task = (void *)bpf_get_current_task();
    if (!scratch)
        return 0;
    struct kin *kin = &scratch->kin;
    __builtin_memset(kin, 0, sizeof *kin);
    u32 is_whole = 0;
    for (u32 level = 0; level < KIN_DEPTH; level++) {
        task = BPF_CORE_READ(task, real_parent);
        if (!task || BPF_CORE_READ(task, tgid) == 0) {
            is_whole = 1;
            break;
        }
        add_kin(kin, level, answers_of((u64)task));
    }
    end_kin(kin, is_whole);
    return 0;
}

static __always_inline void ask_kin(s32 tgid)
{
    if (!(parent_tests | ancestor_tests))
        return;
    if (whole_system)
        ask_parents();
    else
        ask_tree(tgid);
}

/* Keeps the answers of a program for its children. */
static __always_inline void keep_answers(s32 tgid, u64 own)
{
    if (whole_system || !(parent_tests | ancestor_tests))
        return;
    struct member *member = bpf_map_lookup_elem(&tree, &tgid);
    if (member)
        member->answers = own;
}

#endif
