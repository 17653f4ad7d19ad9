/* stamp FILE PID
   Stands in for a debugger: appends CLOCK_MONOTONIC in nanoseconds to FILE as
   its first act, then attaches to the stopped PID and lets it run. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);

    if (argc != 3) {
        fprintf(stderr, "usage: stamp FILE PID\n");
        return 2;
    }
    int fd = open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) {
        perror(argv[1]);
        return 1;
    }
    dprintf(fd, "debugger %lld\n", now.tv_sec * 1000000000LL + now.tv_nsec);

    pid_t pid = (pid_t)atol(argv[2]);
    int status;
    if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) != 0) {
        perror("stamp: PTRACE_SEIZE");
        return 1;
    }
    /* SIGCONT while attached, as a debugger's user would have it: without one
       the process would be stopped again after the detach. */
    if (waitpid(pid, &status, __WALL) != pid || kill(pid, SIGCONT) != 0) {
        perror("stamp: the stopped process");
        return 1;
    }
    /* ESRCH: somebody else's SIGCONT was faster and it is running; our exit
       detaches it then. */
    ptrace(PTRACE_DETACH, pid, NULL, NULL);
    return 0;
}
