/* Loops of many turns. The verifier follows every turn of a bounded loop, and a user waits for that. The body of
   bpf_loop, which Linux 5.17 and later have, it follows once or twice. Without that, three loops nest, each a global
   function of its own, so that the turns of all three add up instead of multiplying. */
#ifndef TRACEXEC_LOOP_BPF_H
#define TRACEXEC_LOOP_BPF_H

/* DEFINE_LOOP(name, body, most) defines name(), which calls body() until that returns 1, `most` times at most, and
   without bpf_loop ALL_TURNS times. A body keeps its state in the scratch. Compiled with bpf_loop and without, see
   src/source/ebpf.rs. */
#ifdef NO_BPF_LOOP

#define INNER_TURNS 16
#define OUTER_TURNS 256
#define ALL_TURNS (INNER_TURNS * TURNS * OUTER_TURNS)

#define DEFINE_LOOP(name, body, most)                                                                              \
    __noinline u32 name##_turns(void)                                                                              \
    {                                                                                                              \
        for (u32 i = 0; i < INNER_TURNS; i++)                                                                      \
            if (body())                                                                                            \
                return 1;                                                                                          \
        return 0;                                                                                                  \
    }                                                                                                              \
    __noinline u32 name##_blocks(void)                                                                             \
    {                                                                                                              \
        for (u32 i = 0; i < TURNS; i++)                                                                            \
            if (name##_turns())                                                                                    \
                return 1;                                                                                          \
        return 0;                                                                                                  \
    }                                                                                                              \
    static __always_inline void name(void)                                                                         \
    {                                                                                                              \
        for (u32 i = 0; i < ((most) < ALL_TURNS ? (most) / INNER_TURNS / TURNS : OUTER_TURNS); i++)                \
            if (name##_blocks())                                                                                   \
                break;                                                                                             \
    }

#else

/* The verifier wants to see that a body returns 0 or 1. */
#define DEFINE_LOOP(name, body, most)                                                                              \
    static __noinline int name##_turn(u32 index, void *context)                                                    \
    {                                                                                                              \
        u32 ended = body();                                                                                        \
        bounded(ended, 1);                                                                                         \
        return ended;                                                                                              \
    }                                                                                                              \
    static __always_inline void name(void)                                                                         \
    {                                                                                                              \
        bpf_loop(most, name##_turn, 0, 0);                                                                         \
    }

#endif

#endif
