/* The filter, as far as the kernel can decide it. Each loop is a global function of its own, which the
   verifier looks at once. */
#ifndef TRACEXEC_FILTER_BPF_H
#define TRACEXEC_FILTER_BPF_H

struct tables {
    u16 words[TABLE_WORDS];
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, u32);
    __type(value, struct tables);
} automata SEC(".maps");

const volatile struct filter_test tests[MAX_TESTS];
const volatile u32 test_count = 0;
const volatile u8 steps[MAX_STEPS];
const volatile u32 step_count = 0;
const volatile u8 wants_argv = 0;
/* What is never asked is not even verified. */
const volatile u8 wants_argc = 0;     /* how many there are */
const volatile u8 wants_elements = 0; /* single ones */
/* Which tests are negated, a bit at the lower one of the two that an answer has. */
const volatile u64 negated_tests = 0;

/* The lower bits of all answers: set for yes. The upper ones are set for unknown. */
#define YES_BITS 0x5555555555555555ULL

/* Answers with the negations of their tests. */
static __always_inline u64 stated(u64 answers)
{
    u64 unknown = answers >> 1 & YES_BITS;
    return answers ^ (negated_tests & ~unknown);
}

/* Reads what a process shows of its program. */
static __always_inline void read_own(struct scratch *scratch, struct task_struct *task)
{
    struct facts *facts = &scratch->facts;
    facts->uid = BPF_CORE_READ(task, cred, euid.val);
    facts->gid = BPF_CORE_READ(task, cred, egid.val);
    facts->comm_len = text_len(bpf_probe_read_kernel_str(scratch->bytes + COMM_AT, COMM_ROOM, task->comm));
    const u8 *exe = BPF_CORE_READ(task, mm, exe_file, f_path.dentry, d_name.name);
    facts->exe_len = text_len(bpf_probe_read_kernel_str(scratch->bytes + EXE_AT, EXE_ROOM, exe));
}

/* Reads argv into the scratch. By itself: among others the bound is spilt and read back, and before
   Linux 6.8 the verifier does not connect the copies. */
__noinline u32 copy_argv(u64 start, u64 len)
{
    struct scratch *scratch = scratch_of_cpu();
    if (!scratch || len > ARGV_ROOM)
        return 1;
    return bpf_probe_read_user(scratch->bytes + ARGV_AT, len, (void *)start) != 0;
}

/* Runs the automaton of a test over at most CHUNK bytes. */
__noinline u32 run_chunk(u32 test, u32 at, u32 len, u32 state)
{
    u32 zero = 0;
    struct scratch *scratch = scratch_of_cpu();
    struct tables *tables = bpf_map_lookup_elem(&automata, &zero);
    if (!scratch || !tables || test >= MAX_TESTS)
        return 0;
    u32 table = tests[test].table, accepted = tests[test].stride;
    for (u32 i = 0; i < CHUNK; i++) {
        if (i >= len || state == 0 || state == accepted)
            break;
        u32 byte = scratch->bytes[(at + i) & SCRATCH_MASK];
        u32 class = tables->words[(table + byte) & (TABLE_WORDS - 1)];
        state = tables->words[(table + 256 + state + class) & (TABLE_WORDS - 1)];
    }
    return state;
}

/* The same over at most BLOCK bytes. */
__noinline u32 run_block(u32 test, u32 at, u32 len, u32 state)
{
    if (test >= MAX_TESTS)
        return 0;
    u32 accepted = tests[test].stride;
    for (u32 i = 0; i < TURNS; i++) {
        u32 done = i * CHUNK;
        if (done >= len || state == 0 || state == accepted)
            break;
        state = run_chunk(test, at + done, len - done, state);
    }
    return state;
}

/* Whether the automaton of a test accepts the bytes; unknown if more of them would have to be seen. */
__noinline u32 accepts(u32 test, u32 at, u32 len, u32 cut)
{
    u32 zero = 0;
    if (test >= MAX_TESTS)
        return ANSWER_UNKNOWN;
    u32 state = tests[test].start, accepted = tests[test].stride;
    for (u32 i = 0; i < TURNS; i++) {
        u32 done = i * BLOCK;
        if (done >= len || state == 0 || state == accepted)
            break;
        state = run_block(test, at + done, len - done, state);
    }
    if (state == accepted)
        return ANSWER_YES;
    if (state == 0)
        return ANSWER_NO;
    if (cut)
        return ANSWER_UNKNOWN;
    struct tables *tables = bpf_map_lookup_elem(&automata, &zero);
    if (!tables)
        return ANSWER_UNKNOWN;
    state = tables->words[(tests[test].table + 256 + state + tests[test].end_class) & (TABLE_WORDS - 1)];
    return state == accepted ? ANSWER_YES : ANSWER_NO;
}

/* Skips strings in at most CHUNK bytes: how many bytes were passed, and above them how many strings
   are still to be skipped. */
__noinline u64 skip_chunk(u32 at, u32 len, u32 skip)
{
    struct scratch *scratch = scratch_of_cpu();
    u32 i;
    if (!scratch)
        return 0;
    for (i = 0; i < CHUNK; i++) {
        if (i >= len || skip == 0)
            break;
        /* 1 for a NUL byte, without a branch, of which the verifier would follow both sides at every turn. */
        skip -= (scratch->bytes[(at + i) & SCRATCH_MASK] - 1u) >> 31;
    }
    return (u64)skip << 32 | i;
}

/* The same in at most BLOCK bytes. */
__noinline u64 skip_block(u32 at, u32 len, u32 skip)
{
    u32 done = 0;
    for (u32 i = 0; i < TURNS; i++) {
        if (done >= len || skip == 0)
            break;
        u64 passed = skip_chunk(at + done, len - done, skip);
        done += (u32)passed;
        skip = passed >> 32;
    }
    return (u64)skip << 32 | done;
}

/* The same up to `end`: where that leads to, and how many are still to be skipped. */
__noinline u64 skip_strings(u32 from, u32 end, u32 skip)
{
    u32 at = from;
    for (u32 i = 0; i < TURNS; i++) {
        if (at >= end || skip == 0)
            break;
        u64 passed = skip_block(at, end - at, skip);
        at += (u32)passed;
        skip = passed >> 32;
    }
    return (u64)skip << 32 | at;
}

#define ALL_STRINGS 0xffffffffu

/* How many strings there are. */
static __always_inline u32 count_strings(u32 len)
{
    return ALL_STRINGS - (u32)(skip_strings(ARGV_AT, ARGV_AT + len, ALL_STRINGS) >> 32);
}

static __always_inline u32 in_ranges(u32 test, u32 number)
{
    u32 found = ANSWER_NO;
    if (test >= MAX_TESTS)
        return ANSWER_UNKNOWN;
    for (u32 i = 0; i < MAX_RANGES; i++) {
        if (i < tests[test].ranges && tests[test].low[i] <= number && number <= tests[test].high[i])
            found = ANSWER_YES;
    }
    return found;
}

/* What an answer is worth. */
static __always_inline u32 worth(u32 test, u32 answer)
{
    if (test >= MAX_TESTS || (answer == ANSWER_YES && tests[test].necessary))
        return ANSWER_UNKNOWN;
    return answer;
}

/* A test on a text in the scratch. */
static __always_inline u32 test_text(u32 test, u32 at, u32 len, u32 room)
{
    return len == NOT_READ ? ANSWER_UNKNOWN : accepts(test, at, len, len + 1 >= room);
}

/* A test that needs no argv. */
__noinline u32 test_cheap(u32 test)
{
    struct scratch *scratch = scratch_of_cpu();
    if (!scratch || test >= MAX_TESTS)
        return ANSWER_UNKNOWN;
    struct facts *facts = &scratch->facts;
    u32 answer = ANSWER_UNKNOWN;
    switch (tests[test].source) {
    case SOURCE_COMM:
        answer = test_text(test, COMM_AT, facts->comm_len, COMM_ROOM + 1);
        break;
    case SOURCE_PREV_COMM:
        answer = test_text(test, PREV_COMM_AT, facts->prev_comm_len, COMM_ROOM + 1);
        break;
    case SOURCE_FILENAME:
        answer = test_text(test, FILENAME_AT, facts->filename_len, FILENAME_ROOM);
        break;
    case SOURCE_EXE_NAME:
        answer = test_text(test, EXE_AT, facts->exe_len, EXE_ROOM);
        break;
    case SOURCE_UID:
        answer = in_ranges(test, facts->uid);
        break;
    case SOURCE_GID:
        answer = in_ranges(test, facts->gid);
        break;
    case SOURCE_PID:
        answer = in_ranges(test, facts->pid);
        break;
    case SOURCE_DEPTH:
        answer = in_ranges(test, facts->depth);
        break;
    default:
        break;
    }
    return worth(test, answer);
}

/* A test on one element of argv. */
static __always_inline u32 test_element(u32 test, struct facts *facts)
{
    u32 end = ARGV_AT + facts->argv_len;
    s32 index = tests[test].index;
    if (index < 0) {
        if (facts->argv_cut)
            return ANSWER_UNKNOWN;
        index += facts->argc;
        if (index < 0)
            return ANSWER_NO;
    }
    u32 at = skip_strings(ARGV_AT, end, index);
    if (at >= end)
        return facts->argv_cut ? ANSWER_UNKNOWN : ANSWER_NO;
    u64 passed = skip_strings(at, end, 1);
    /* Without its NUL it goes on behind the cut. */
    if (passed >> 32)
        return ANSWER_UNKNOWN;
    return accepts(test, at, (u32)passed - at - 1, 0);
}

/* A test on argv, which lies in the scratch. */
__noinline u32 test_argv(u32 test)
{
    struct scratch *scratch = scratch_of_cpu();
    if (!scratch || test >= MAX_TESTS)
        return ANSWER_UNKNOWN;
    struct facts *facts = &scratch->facts;
    u32 len = facts->argv_len, answer;
    if (tests[test].source == SOURCE_ARGC)
        answer = facts->argv_cut ? ANSWER_UNKNOWN : in_ranges(test, facts->argc);
    else if (tests[test].source == SOURCE_ARGV)
        /* The last NUL is the end, not a byte. */
        answer = accepts(test, ARGV_AT, len && !facts->argv_cut ? len - 1 : len, facts->argv_cut);
    else
        answer = wants_elements ? test_element(test, facts) : ANSWER_UNKNOWN;
    return worth(test, answer);
}

/* The result for two answers a and b at (a << 2 | b), two bits each: without a branch, of which the
   verifier would follow both sides at every step. */
#define AND_TABLE 0x282400u
#define OR_TABLE 0x261524u

/* The expression over the tests' answers, two bits each. */
__noinline u32 evaluate(u64 answers)
{
    u64 stack = 0;
    for (u32 i = 0; i < MAX_STEPS; i++) {
        if (i >= step_count)
            break;
        u32 step = steps[i];
        if (step < MAX_TESTS) {
            stack = stack << 2 | (answers >> (2 * step) & 3);
            continue;
        }
        u32 table = step == STEP_AND ? AND_TABLE : OR_TABLE;
        stack = (stack >> 4) << 2 | (table >> (2 * (stack & 15)) & 3);
    }
    return stack & 3;
}

#endif
