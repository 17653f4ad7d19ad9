#include <stddef.h>

struct series {
	size_t length;
	const int *values;
};

static inline int mean(const struct series *series) {
	long sum = 0;
	for (size_t i = 0; i < series->length; i++)
		sum += series->values[i];
	return (int)(sum / (long)series->length);
}
