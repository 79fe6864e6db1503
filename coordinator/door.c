#include "coordinator/door.h"

#include <errno.h>
#include <string.h>

#include "proto/gate.h"

static bool set_up(zsock_t *socket, const struct door_options *options,
                   const struct keypair *server, struct error *error)
{
    uint64_t threads = UINT64_C(1) << options->thread;
    zsock_set_sndhwm(socket, options->high_water);
    zsock_set_rcvhwm(socket, options->high_water);
    zsock_set_ipv6(socket, strchr(options->bind, '[') != NULL);
    if (zmq_setsockopt(zsock_resolve(socket), ZMQ_AFFINITY, &threads, sizeof threads))
        return error_set(error, "libzmq does not take AFFINITY: %s",
                         zmq_strerror(errno));
    return gate_guard(socket, server, options->limit, error);
}

zsock_t *door_open(const struct door_options *options, const struct keypair *server,
                   int *port, struct error *error)
{
    zsock_t *socket = zsock_new(ZMQ_ROUTER);
    if (!socket) {
        error_set(error, "no socket: %s", zmq_strerror(errno));
        return NULL;
    }
    if (!set_up(socket, options, server, error)) {
        zsock_destroy(&socket);
        return NULL;
    }
    if (options->port)
        *port = zsock_bind(socket, "%s:%d", options->bind, options->port);
    else
        *port = zsock_bind(socket, "%s:*", options->bind);
    if (*port < 0) {
        int why = errno;
        error_set_kind(error, why == EADDRINUSE ? ERROR_BUSY : ERROR_INPUT,
                       why == EADDRINUSE
                           ? "%s:%d is taken: another program listens there; choose "
                             "another with --port and --bulk-port"
                           : "%s:%d cannot be listened on: %s",
                       options->bind, options->port, zmq_strerror(why));
        zsock_destroy(&socket);
    }
    return socket;
}
