/* report: makes a table of the lines of stats. */
#include <stdio.h>

int main(void)
{
    int sensor;
    long readings;
    double lowest, mean, highest;

    printf("sensor  readings  lowest    mean  highest\n");
    while (scanf("%d %ld %lf %lf %lf", &sensor, &readings, &lowest, &mean,
                 &highest) == 5)
        printf("%6d  %8ld  %6.2f  %6.2f  %7.2f\n", sensor, readings, lowest,
               mean, highest);
    return 0;
}
