/* The smallest program there is: no libc, no loader, so that what is measured
   is the exec and not the program. */

#if defined(__x86_64__)
void _start(void)
{
    __asm__ volatile("xor %%edi, %%edi\n\t"
                     "mov $231, %%eax\n\t" /* exit_group */
                     "syscall" ::: "memory");
    __builtin_unreachable();
}
#elif defined(__aarch64__)
void _start(void)
{
    __asm__ volatile("mov x0, #0\n\t"
                     "mov x8, #94\n\t" /* exit_group */
                     "svc #0" ::: "memory");
    __builtin_unreachable();
}
#else
#error "tiny.c: write exit_group(0) for this architecture"
#endif
