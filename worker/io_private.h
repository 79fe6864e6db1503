/* The inside of the I/O actor, for io.c (its thread) and io_orders.c (the loop's side). */
#ifndef FARM_IO_PRIVATE_H
#define FARM_IO_PRIVATE_H

#include "worker/checkpoints.h"
#include "worker/download.h"
#include "worker/io.h"
#include "worker/serve.h"
#include "worker/spool.h"
#include "worker/upload.h"

enum order_kind {
    ORDER_CONNECT,
    ORDER_MODEL,
    ORDER_MANIFEST,
    ORDER_FINISH,
    ORDER_COMMITTED,
    ORDER_OFFER_CHECKPOINT,
    ORDER_WANT_CHECKPOINT,
    ORDER_PEERS,
    ORDER_GRANT,
    ORDER_GRANT_END,
    ORDER_STOP,
};

struct order {
    enum order_kind kind;
    char address[160];
    uint8_t model[32];
    Farm__Manifest *manifest;
    struct rendered *rendered;
    uint64_t epoch, counter;
    Farm__CommitAnswer answer;
    struct error error;
    Farm__Peers *peers;
    uint64_t grant;
    uint8_t key[KEY_SIZE];
    uint32_t lasts_s;
    uint32_t step;
    uint64_t size;
    struct buffer bytes;
};

struct io {
    zactor_t *actor;
    size_t spooled_at_start;
    /* the actor's from here on */
    zsock_t *pipe;
    bool stop;
    struct spool *spool;
    struct checkpoints *checkpoints;
    struct upload *upload;
    struct pieces *pieces;
    struct download *download;
    struct serve *serve; /* NULL: nobody is served */
    int peer_port;
    struct keypair own;
    uint8_t server_key[KEY_SIZE];
    char address[160];
    struct link *link;
};

/* Orders cross as pointers; whoever takes one destroys it. */
struct order *order_new(enum order_kind kind);
void order_destroy(struct order *order);
void order_give(struct io *self, struct order *order);

/* Waits for an event of the thread. */
bool io_receive(struct io *self, struct io_event *into);

#endif
