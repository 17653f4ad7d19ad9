#ifndef TOTALS_H
#define TOTALS_H

#include "reading.h"

struct total {
    long readings;
    int32_t lowest, highest;
    int64_t sum;
};

struct totals {
    struct total sensor[SENSORS];
    long readings; /* good ones */
    long skipped;  /* bad ones; with strict, there are none */
    int strict;
};

/* Adds up COUNT readings. A bad one is skipped, or with strict is the end. */
void add_batch(struct totals *totals, const struct reading *batch, long count);

void print_totals(const struct totals *totals);

#endif
