/* storm spawn|fork COUNT PROGRAM
   Starts PROGRAM COUNT times, one after the other, with a number as its argument, and waits for each.
   Says at the end how many seconds that took, without what came before and comes after. */
#define _GNU_SOURCE
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static char number[16];

static pid_t start_by_spawn(char *program)
{
    char *argv[] = {program, number, NULL};
    pid_t pid;
    int error = posix_spawn(&pid, program, NULL, NULL, argv, environ);
    if (error) {
        errno = error;
        return -1;
    }
    return pid;
}

static pid_t start_by_fork(char *program)
{
    char *argv[] = {program, number, NULL};
    pid_t pid = fork();
    if (pid == 0) {
        execv(program, argv);
        _exit(127);
    }
    return pid;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: storm spawn|fork COUNT PROGRAM\n");
        return 2;
    }
    pid_t (*start)(char *) =
        strcmp(argv[1], "fork") == 0 ? start_by_fork : start_by_spawn;
    long count = atol(argv[2]);
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);

    for (long i = 0; i < count; i++) {
        int status;
        snprintf(number, sizeof number, "%ld", i);
        pid_t pid = start(argv[3]);
        if (pid < 0 || waitpid(pid, &status, 0) != pid) {
            perror("storm");
            return 1;
        }
        /* A storm of failures is faster than one of successes: never time it. */
        if (status != 0) {
            fprintf(stderr, "storm: %s: wait status %d\n", argv[3], status);
            return 1;
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    fprintf(stderr, "storm: %.9f s\n",
            (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
    return 0;
}
