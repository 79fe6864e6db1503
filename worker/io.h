/* The I/O actor: everything of a device process that waits for disk or bulk transfer.
 *
 * Owns the bulk link, the spool and the piece cache. Takes orders, gives events; neither
 * side ever waits for the other. Results it was given are on disk before IO_KEPT, and stay
 * there until io_committed brings a final answer.
 */
#ifndef FARM_IO_H
#define FARM_IO_H

#include <czmq.h>

#include "proto/farm.pb-c.h"
#include "proto/keys.h"
#include "worker/peers.h"
#include "worker/sd/pipeline.h"

struct io_options {
    const char *spool, *cache; /* folders */
    const char *depot;         /* see pieces.h */
    uint64_t cache_limit;      /* bytes */
    const struct keypair *own;
    const uint8_t *server_key;
    const char *peer_bind; /* where other workers are served; NULL: nowhere */
    int peer_port;         /* 0: the kernel's choice */
};

struct io;
struct rendered;

/* Opens spool and cache, then starts the thread. Copies what it needs. */
struct io *io_new(const struct io_options *options, struct error *error);
void io_destroy(struct io **self);

/* Readable when io_next has something. */
zsock_t *io_socket(struct io *self);

/* A session began: bulk data goes to this address from now on, and all that is in the
 * spool is offered and announced (IO_UPLOADED) again. */
void io_connect(struct io *self, const char *address);

/* Sees to it that the model's files are here: IO_MODEL or IO_MODEL_FAILED comes, before it
 * perhaps IO_MANIFEST_WANTED, which io_manifest answers. */
void io_want_model(struct io *self, const uint8_t id[32]);
void io_manifest(struct io *self, const uint8_t id[32], const Farm__Manifest *manifest);
void io_no_manifest(struct io *self, const uint8_t id[32], const struct error *why);

/* Who may be asked for pieces of the model being fetched. */
void io_peers(struct io *self, const Farm__Peers *list);

/* A grant to serve another worker, answered by IO_GRANTED with its number; its end. */
void io_grant(struct io *self, const Farm__Grant *grant);
void io_grant_end(struct io *self, const uint8_t key[KEY_SIZE]);

/* Where other workers are served, 0: nowhere. */
int io_peer_port(const struct io *self);

/* Takes *rendered and nulls it: its files are made, IO_KEPT or IO_NOT_KEPT comes, then
 * IO_UPLOADED. */
void io_finish(struct io *self, struct rendered **rendered);

/* A snapshot of what an attempt renders goes up: IO_CHECKPOINTED when it is there, unless a
 * newer one of that attempt or its result came first. Takes the bytes. */
void io_offer_checkpoint(struct io *self, uint64_t epoch, uint64_t counter,
                         uint32_t step, struct buffer *bytes);

/* Fetches the snapshot an attempt is to go on from: IO_CHECKPOINT or IO_NO_CHECKPOINT. */
void io_want_checkpoint(struct io *self, uint64_t epoch, uint64_t counter,
                        const uint8_t blob[32], uint64_t size);

/* The coordinator's answer to a Commit; a final one empties the spool: IO_FORGOTTEN. */
void io_committed(struct io *self, uint64_t epoch, uint64_t counter,
                  Farm__CommitAnswer answer);

enum io_event_kind {
    IO_LISTED, /* found at start: a model whose files are all here */
    IO_MANIFEST_WANTED,
    IO_HAVE,  /* of a model that is being fetched, or is whole: to be told */
    IO_MODEL, /* files and manifest */
    IO_MODEL_FAILED,
    IO_KEPT, /* in the spool; also for each result found there at start */
    IO_NOT_KEPT,
    IO_UPLOADED, /* the coordinator has the blobs: commit is to be sent, and may come again */
    IO_FORGOTTEN,
    IO_CHECKPOINTED,  /* step, blob, size: to be told, and may come again */
    IO_CHECKPOINT,    /* bits: its bytes, which are what their hash says */
    IO_NO_CHECKPOINT, /* error */
    IO_GRANTED,       /* or not: the error says so */
    IO_STOPPED,       /* the last one; seen by io_destroy only */
};

struct io_event {
    enum io_event_kind kind;
    uint8_t model[32];
    uint64_t epoch, counter;
    size_t spooled; /* results in the spool after this */
    struct model_files files;
    Farm__Manifest *manifest;
    Farm__Commit *commit;
    struct error error;
    struct buffer bits; /* HAVE: pieces.h; CHECKPOINT */
    uint32_t step;
    uint8_t blob[32];
    uint64_t size;
    bool fetching, starved;
    uint8_t bad[PEERS_MOST][KEY_SIZE]; /* who sent wrong pieces */
    size_t bads;
    uint64_t grant;
};

/* The next event, if there is one. */
bool io_next(struct io *self, struct io_event *into);
void io_event_clear(struct io_event *self);

/* Results in the spool when the actor was started. */
size_t io_spooled_at_start(const struct io *self);

#endif
