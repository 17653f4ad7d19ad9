/* stamped_exec FILE PROGRAM
   Writes CLOCK_MONOTONIC in nanoseconds to FILE, then becomes PROGRAM: the
   closest that user space comes to the moment of the exec. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: stamped_exec FILE PROGRAM\n");
        return 2;
    }
    int fd = open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) {
        perror(argv[1]);
        return 1;
    }
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    dprintf(fd, "exec %lld\n", now.tv_sec * 1000000000LL + now.tv_nsec);

    char *next[] = {argv[2], NULL};
    execv(argv[2], next);
    perror(argv[2]);
    return 1;
}
