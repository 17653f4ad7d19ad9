/* gen COUNT: writes COUNT readings to stdout, the same ones every time. */
#include <stdio.h>
#include <stdlib.h>

#include "reading.h"

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: gen COUNT\n");
        return 2;
    }
    long count = strtol(argv[1], NULL, 10);
    uint32_t state = 1;

    for (long i = 0; i < count; i++) {
        struct reading r = {
            .sensor = (uint32_t)(i % SENSORS),
            .sequence = (uint32_t)i,
            .time = 1700000000 + i,
        };
        for (int k = 0; k < SAMPLES; k++)
            r.samples[k] = 18000 + 250 * (int32_t)r.sensor
                           + (int32_t)(next_random(&state) % 2000);
        if (fwrite(&r, sizeof r, 1, stdout) != 1) {
            perror("gen");
            return 1;
        }
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
