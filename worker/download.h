/* Models on their way down the bulk link, one at a time, first come first.
 *
 * While another process of this host fetches, and while nothing comes, it looks or asks
 * again; an owner therefore calls download_next every second at least.
 */
#ifndef FARM_DOWNLOAD_H
#define FARM_DOWNLOAD_H

#include "proto/link.h"
#include "worker/io.h"
#include "worker/pieces.h"

struct download;

/* Borrows the piece cache. */
struct download *download_new(struct pieces *pieces);
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

/* A Refused that came: a file that the farm does not have ends its model's fetch. */
void download_refused(struct download *self, const Farm__Envelope *envelope);

/* The connection is new: asks for all that is outstanding again. */
void download_restart(struct download *self);

/* Goes on as far as it can, sending Wants over `link` (NULL: none yet). True when there is
 * news: IO_MANIFEST_WANTED, IO_MODEL or IO_MODEL_FAILED; call again then. */
bool download_next(struct download *self, struct link *link, int64_t now_ms,
                   struct io_event *news);

#endif
