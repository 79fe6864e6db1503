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

/* zsock_bind would try its own range of ports in order, where every farm on the machine
 * looks for one; libzmq's wildcard is the kernel's choice. */
static bool bind_door(zsock_t *socket, const struct door_options *options, int *port,
                      struct error *error)
{
    char address[300], number[12] = "*";
    if (options->port)
        snprintf(number, sizeof number, "%d", options->port);
    snprintf(address, sizeof address, "%s:%s", options->bind, number);
    if (zmq_bind(zsock_resolve(socket), address) == 0) {
        char *bound = zsock_last_endpoint(socket);
        const char *colon = bound ? strrchr(bound, ':') : NULL;
        *port = colon ? atoi(colon + 1) : 0;
        zstr_free(&bound);
        return true;
    }
    int why = errno;
    return error_set_kind(error, why == EADDRINUSE ? ERROR_BUSY : ERROR_INPUT,
                          why == EADDRINUSE
                              ? "%s is taken: another program listens there; choose "
                                "another with --port and --bulk-port"
                              : "%s cannot be listened on: %s; --bind takes an "
                                "address of this machine, like tcp://127.0.0.1",
                          address, zmq_strerror(why));
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
    if (!bind_door(socket, options, port, error))
        zsock_destroy(&socket);
    return socket;
}
