/* What `farm-worker devices` prints. */
#ifndef FARM_DEVICES_H
#define FARM_DEVICES_H

#include <stdbool.h>

/* Lists this machine's OpenCL devices on stdout; returns the exit status, 2 for none. */
int devices_show(bool json);

#endif
