/* Connections keep the order of their messages and lose what is under way when they are
 * cut; the coordinator learns of that only when it sends, as with a ROUTER. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

enum { LATENCY_MS = 20 };

uint32_t connect_peer(uint32_t peer, const uint8_t key[32])
{
    uint32_t number = world->connections++;
    world->connection =
        realloc(world->connection, world->connections * sizeof *world->connection);
    if (!world->connection)
        abort();
    struct connection *connection = &world->connection[number];
    *connection = (struct connection){.open = true, .peer = peer};
    memcpy(connection->key, key, 32);
    return number;
}

void cut(uint32_t number)
{
    if (number < world->connections)
        world->connection[number].open = false;
}

static int64_t arrival(const struct connection *connection, int64_t *last)
{
    int64_t at = world->now + 1;
    if (!world->plan.plain)
        at += (int64_t)chance_below(LATENCY_MS);
    at = at > connection->held_until ? at : connection->held_until;
    *last = at > *last ? at : *last;
    return *last;
}

void send_to_coordinator(uint32_t number, Farm__Envelope *envelope)
{
    struct connection *connection = &world->connection[number];
    if (!connection->open)
        return;
    size_t size;
    uint8_t *packed = wire_pack(&envelope->base, &size);
    happen_with(arrival(connection, &connection->there), EVENT_TO_COORDINATOR, number,
                packed, size);
}

/* What the coordinator sends: false when the connection is gone. */
bool send_to_peer(uint32_t number, const void *packed, size_t size)
{
    if (number >= world->connections || !world->connection[number].open)
        return false;
    struct connection *connection = &world->connection[number];
    uint8_t *copy = malloc(size + 1);
    if (!copy)
        abort();
    memcpy(copy, packed, size);
    happen_with(arrival(connection, &connection->back), EVENT_TO_PEER, number, copy,
                size);
    return true;
}

void deliver_to_peer(const struct event *event)
{
    const struct connection *connection = &world->connection[event->who];
    if (!connection->open)
        return;
    struct error error = {0};
    Farm__Envelope *envelope = wire_unpack(event->data, event->size, &error);
    if (!envelope) {
        broken("the coordinator sent what is no message: %s", error.text);
        return;
    }
    if (connection->peer >= WORKERS_MOST)
        client_hears(connection->peer - WORKERS_MOST, envelope);
    else
        worker_hears(connection->peer, envelope);
    farm__envelope__free_unpacked(envelope, NULL);
}
