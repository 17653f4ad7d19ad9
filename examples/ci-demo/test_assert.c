#include "mean.h"
#include <assert.h>

static void check_mean(const struct series *series, int expected) {
	int found = mean(series);
	assert(found == expected);
}

int main(void) {
	const int values[] = {1, 2, 4};
	const struct series series = {3, values};
	check_mean(&series, 3);
	return 0;
}
