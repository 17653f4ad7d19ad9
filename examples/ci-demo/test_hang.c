#include "mean.h"
#include <unistd.h>

// The other end of the pipe is open, in this process itself.
static int read_value(void) {
	int ends[2], value = 0;
	if (pipe(ends) != 0 || read(ends[0], &value, sizeof value) < 0)
		return -1;
	return value;
}

int main(void) {
	const int value = read_value();
	const struct series series = {1, &value};
	return mean(&series) != 0;
}
