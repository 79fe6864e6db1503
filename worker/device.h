/* A child process: one device, one connection, one loop that never waits for either. */
#ifndef FARM_DEVICE_H
#define FARM_DEVICE_H

#include "config/settings.h"
#include "worker/member.h"

enum {
    DEVICE_INSTANCE = 16,
    DEVICE_BROKEN = 70, /* exit status: the device must be opened anew */
};

/* Bytes the host writes to a child's stdin; its end means that the host is gone. */
#define DEVICE_DRAIN 'd'
#define DEVICE_QUIT  'q'

/* Runs until the host says drain or quit, or the device is of no use any more; returns the
 * exit status. `instance` is the host process's, the same for all its children. */
int device_run(size_t index, const uint8_t instance[DEVICE_INSTANCE],
               const struct worker_settings *settings, const struct member *member);

#endif
