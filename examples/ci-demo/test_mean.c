#include "mean.h"

int main(void) {
	const int values[] = {1, 2, 3};
	const struct series series = {3, values};
	return mean(&series) != 2;
}
