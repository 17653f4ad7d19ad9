#include "totals.h"

#include <stdio.h>
#include <stdlib.h>

static void bad_reading(const struct totals *totals, const struct reading *r)
{
    fprintf(stderr, "stats: after %ld good readings, one of sensor %u of %d\n",
            totals->readings, (unsigned)r->sensor, SENSORS);
    abort();
}

static void add_reading(struct totals *totals, const struct reading *r)
{
    struct total *total = &totals->sensor[r->sensor];

    for (int k = 0; k < SAMPLES; k++) {
        int32_t sample = r->samples[k];
        if (total->readings == 0 && k == 0)
            total->lowest = total->highest = sample;
        if (sample < total->lowest)
            total->lowest = sample;
        if (sample > total->highest)
            total->highest = sample;
        total->sum += sample;
    }
    total->readings++;
    totals->readings++;
}

void add_batch(struct totals *totals, const struct reading *batch, long count)
{
    for (long i = 0; i < count; i++) {
        if (batch[i].sensor < SENSORS)
            add_reading(totals, &batch[i]);
        else if (totals->strict)
            bad_reading(totals, &batch[i]);
        else
            totals->skipped++;
    }
}

void print_totals(const struct totals *totals)
{
    for (int s = 0; s < SENSORS; s++) {
        const struct total *t = &totals->sensor[s];
        if (t->readings == 0)
            continue;
        printf("%d %ld %.3f %.3f %.3f\n", s, t->readings, t->lowest / 1000.0,
               t->sum / 1000.0 / (double)(t->readings * SAMPLES),
               t->highest / 1000.0);
    }
    if (totals->skipped)
        fprintf(stderr, "stats: skipped %ld bad readings\n", totals->skipped);
}
