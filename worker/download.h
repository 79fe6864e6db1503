/* Models on their way here, one at a time, first come first: from the coordinator over the
 * bulk link, and from other workers (peers.h).
 *
 * While another process of this host fetches, and while nothing comes, it looks or asks
 * again; an owner therefore calls download_next every second at least.
 */
#ifndef FARM_DOWNLOAD_H
#define FARM_DOWNLOAD_H

#include "proto/link.h"
#include "worker/io.h"
#include "worker/peers.h"
#include "worker/pieces.h"

struct download;

/* Borrows both; `own` NULL: only the coordinator is asked. */
struct download *download_new(struct pieces *pieces, const struct keypair *own);
void download_destroy(struct download **self);

/* Puts a model behind those wanted already; ERROR_BUSY when those are too many. */
bool download_want(struct download *self, const uint8_t id[BLOB_ID],
                   struct error *error);

/* The manifest asked for, or NULL and why there is none. */
void download_manifest(struct download *self, const uint8_t id[BLOB_ID],
                       const Farm__Manifest *manifest, const struct error *why);

/* A Chunk that came. */
void download_chunk(struct download *self, const struct message *message,
                    int64_t now_ms);

/* Who may be asked for pieces of a model, and what the coordinator may be asked for. */
void download_peers(struct download *self, const Farm__Peers *list, int64_t now_ms);

/* What a poller waits for besides the link; gives their number. */
size_t download_poll(struct download *self, zmq_pollitem_t items[PEERS_ITEMS]);
void download_polled(struct download *self, const zmq_pollitem_t *items);

/* Files are being hashed: download_next is to be called again at once. */
bool download_works(const struct download *self);

/* A Refused that came: a file that the farm does not have ends its model's fetch. */
void download_refused(struct download *self, const Farm__Envelope *envelope);

/* A new session: the coordinator may have forgotten what was said. The bulk link is new: asks
 * for all ranges that are outstanding again. */
void download_greeted(struct download *self);
void download_restart(struct download *self);

/* Goes on as far as it can, sending Wants over `link` (NULL: none yet). True when there is
 * news: IO_MANIFEST_WANTED, IO_HAVE, IO_MODEL or IO_MODEL_FAILED; call again then. */
bool download_next(struct download *self, struct link *link, int64_t now_ms,
                   struct io_event *news);

#endif
