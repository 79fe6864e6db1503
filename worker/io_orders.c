#include <stdlib.h>
#include <string.h>

#include "proto/files/manifest.h"
#include "worker/io_private.h"
#include "worker/rendered.h"

struct order *order_new(enum order_kind kind)
{
    struct order *order = calloc(1, sizeof *order);
    if (!order)
        abort();
    order->kind = kind;
    return order;
}

void order_destroy(struct order *order)
{
    manifest_destroy(&order->manifest);
    if (order->peers)
        farm__peers__free_unpacked(order->peers, NULL);
    rendered_destroy(&order->rendered);
    buffer_clear(&order->bytes);
    free(order);
}

void order_give(struct io *self, struct order *order)
{
    zsock_send(self->actor, "p", order);
}

void io_connect(struct io *self, const char *address)
{
    struct order *order = order_new(ORDER_CONNECT);
    snprintf(order->address, sizeof order->address, "%s", address);
    order_give(self, order);
}

void io_want_model(struct io *self, const uint8_t id[32])
{
    struct order *order = order_new(ORDER_MODEL);
    memcpy(order->model, id, sizeof order->model);
    order_give(self, order);
}

void io_manifest(struct io *self, const uint8_t id[32], const Farm__Manifest *manifest)
{
    struct order *order = order_new(ORDER_MANIFEST);
    memcpy(order->model, id, sizeof order->model);
    order->manifest = wire_copy(&manifest->base);
    order_give(self, order);
}

void io_no_manifest(struct io *self, const uint8_t id[32], const struct error *why)
{
    struct order *order = order_new(ORDER_MANIFEST);
    memcpy(order->model, id, sizeof order->model);
    order->error = *why;
    order_give(self, order);
}

void io_finish(struct io *self, struct rendered **rendered)
{
    struct order *order = order_new(ORDER_FINISH);
    order->epoch = (*rendered)->attempt.epoch;
    order->counter = (*rendered)->attempt.counter;
    order->rendered = *rendered;
    *rendered = NULL;
    order_give(self, order);
}

void io_offer_checkpoint(struct io *self, uint64_t epoch, uint64_t counter,
                         uint32_t step, struct buffer *bytes)
{
    struct order *order = order_new(ORDER_OFFER_CHECKPOINT);
    order->epoch = epoch;
    order->counter = counter;
    order->step = step;
    order->bytes = *bytes;
    *bytes = (struct buffer){0};
    order_give(self, order);
}

void io_want_checkpoint(struct io *self, uint64_t epoch, uint64_t counter,
                        const uint8_t blob[32], uint64_t size)
{
    struct order *order = order_new(ORDER_WANT_CHECKPOINT);
    order->epoch = epoch;
    order->counter = counter;
    memcpy(order->model, blob, sizeof order->model);
    order->size = size;
    order_give(self, order);
}

void io_peers(struct io *self, const Farm__Peers *list)
{
    struct order *order = order_new(ORDER_PEERS);
    order->peers = wire_copy(&list->base);
    order_give(self, order);
}

void io_grant(struct io *self, const Farm__Grant *grant)
{
    struct order *order = order_new(ORDER_GRANT);
    order->grant = grant->id;
    order->lasts_s = grant->lasts_s;
    memcpy(order->key, grant->key.data, KEY_SIZE);
    memcpy(order->model, grant->model.data, BLOB_ID);
    order_give(self, order);
}

void io_grant_end(struct io *self, const uint8_t key[KEY_SIZE])
{
    struct order *order = order_new(ORDER_GRANT_END);
    memcpy(order->key, key, KEY_SIZE);
    order_give(self, order);
}

int io_peer_port(const struct io *self)
{
    return self->peer_port;
}

void io_committed(struct io *self, uint64_t epoch, uint64_t counter,
                  Farm__CommitAnswer answer)
{
    struct order *order = order_new(ORDER_COMMITTED);
    order->epoch = epoch;
    order->counter = counter;
    order->answer = answer;
    order_give(self, order);
}

zsock_t *io_socket(struct io *self)
{
    return zactor_sock(self->actor);
}

size_t io_spooled_at_start(const struct io *self)
{
    return self->spooled_at_start;
}

bool io_receive(struct io *self, struct io_event *into)
{
    struct io_event *event = NULL;
    if (zsock_recv(self->actor, "p", &event) != 0 || !event)
        return false;
    *into = *event;
    free(event);
    return true;
}

bool io_next(struct io *self, struct io_event *into)
{
    return (zsock_events(self->actor) & ZMQ_POLLIN) && io_receive(self, into);
}

void io_event_clear(struct io_event *self)
{
    model_files_clear(&self->files);
    buffer_clear(&self->bits);
    manifest_destroy(&self->manifest);
    if (self->commit)
        farm__commit__free_unpacked(self->commit, NULL);
    *self = (struct io_event){0};
}
