/* stats [--strict] [FILE]: reads readings from FILE or stdin and prints, for
   each sensor, a line: SENSOR READINGS LOWEST MEAN HIGHEST. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "totals.h"

#define BATCH 1024

static int read_all(int fd, struct totals *totals)
{
    struct reading *batch = malloc(BATCH * sizeof *batch);
    ssize_t got;

    if (!batch)
        return -1;
    while ((got = read(fd, batch, BATCH * sizeof *batch)) > 0) {
        long count = got / (long)sizeof *batch;
        add_batch(totals, batch, count);
    }
    free(batch);
    return got < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
    struct totals totals = {0};
    int fd = STDIN_FILENO;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--strict") == 0) {
            totals.strict = 1;
        } else if ((fd = open(argv[i], O_RDONLY)) < 0) {
            perror(argv[i]);
            return 1;
        }
    }
    if (read_all(fd, &totals) != 0) {
        perror("stats");
        return 1;
    }
    print_totals(&totals);
    return 0;
}
