/* rank: sorts the lines of stats by their mean, the warmest sensor first. */
#include <stdio.h>
#include <stdlib.h>

#define LINES 64

struct line {
    double mean;
    char text[80];
};

static int warmest_first(const void *a, const void *b)
{
    double x = ((const struct line *)a)->mean;
    double y = ((const struct line *)b)->mean;
    return (x < y) - (x > y);
}

int main(void)
{
    static struct line lines[LINES];
    size_t n = 0;

    while (n < LINES && fgets(lines[n].text, sizeof lines[n].text, stdin)) {
        if (sscanf(lines[n].text, "%*d %*d %*f %lf", &lines[n].mean) == 1)
            n++;
    }
    qsort(lines, n, sizeof lines[0], warmest_first);
    for (size_t i = 0; i < n; i++)
        fputs(lines[i].text, stdout);
    return 0;
}
