#ifndef READING_H
#define READING_H

#include <stdint.h>

#define SENSORS 4
#define SAMPLES 30

/* What gen writes and stats reads: one burst of samples from one sensor. */
struct reading {
    uint32_t sensor;
    uint32_t sequence;
    int64_t time;             /* seconds since the epoch */
    int32_t samples[SAMPLES]; /* thousandths of a degree */
};

#endif
