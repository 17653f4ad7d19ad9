/* follower COMMAND...
   The least that a ptrace follower can do: attaches, follows every child, and
   lets each go on at each stop without looking at it. What it costs, any
   follower costs. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int gate[2];
    char byte = 0;
    if (argc < 2 || pipe(gate) != 0)
        return 125;
    pid_t child = fork();
    if (child == 0) {
        close(gate[1]);
        if (read(gate[0], &byte, 1) != 1)
            _exit(125);
        close(gate[0]);
        execvp(argv[1], argv + 1);
        perror(argv[1]);
        _exit(127);
    }
    long options =
        PTRACE_O_TRACEEXEC | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE;
    if (child < 0 || ptrace(PTRACE_SEIZE, child, NULL, options) != 0) {
        perror("follower");
        return 125;
    }
    close(gate[0]);
    if (write(gate[1], &byte, 1) != 1)
        return 125;
    close(gate[1]);

    int status, result = 125;
    pid_t pid;
    while ((pid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
        if (pid <= 0 || !WIFSTOPPED(status)) {
            if (pid == child)
                result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            continue;
        }
        int event = status >> 16, signal = WSTOPSIG(status);
        if (event == PTRACE_EVENT_STOP && signal != SIGTRAP)
            ptrace(PTRACE_LISTEN, pid, NULL, NULL);
        else
            ptrace(PTRACE_CONT, pid, NULL, event ? 0L : (long)signal);
    }
    return result;
}
