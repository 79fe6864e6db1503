/* A bound ROUTER behind the gate: the coordinator's two listening sockets. */
#ifndef FARM_DOOR_H
#define FARM_DOOR_H

#include <czmq.h>

#include "base/error.h"
#include "proto/keys.h"

struct door_options {
    const char *bind; /* "tcp://0.0.0.0" */
    int port;         /* 0: the kernel's choice */
    size_t limit;     /* bytes of a message */
    int high_water;   /* messages queued for one peer */
    int thread;       /* which of the context's two I/O threads serves it, 0 or 1 */
};

/* The gate must run. *port gets the real one. A port that is taken is said so. */
zsock_t *door_open(const struct door_options *options, const struct keypair *server,
                   int *port, struct error *error);

#endif
