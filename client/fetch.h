/* Fetching blobs into files: several at once over the bulk link, verified, each file there
 * whole or not at all. */
#ifndef FARM_FETCH_H
#define FARM_FETCH_H

#include "client/session.h"
#include "proto/files/blob.h"

struct fetch;

/* Fetches into the folder, which is made when missing; ERROR_INPUT when it cannot be
 * written. Temporary files lie in a hidden folder in it (scratch.h) until fetch_destroy. */
struct fetch *fetch_new(struct session *session, const char *folder,
                        struct error *error);
void fetch_destroy(struct fetch **self);

/* Wants the blob as `name` in the folder. With a provenance (provenance.h; "": none) it is
 * a PNG file that gets that text, once the farm's signature and the picture's pixels fit
 * it. A file that is there and has that content is left as it is. */
void fetch_add(struct fetch *self, const char *name, const uint8_t blob[BLOB_ID],
               uint64_t size, const char *provenance);

/* Sends and takes what is due; call whenever session_wait returned. Disks that are full end
 * it: false. */
bool fetch_step(struct fetch *self, struct error *error);

/* False, and why, when the farm did not have some of the blobs, or had them damaged. */
bool fetch_is_whole(const struct fetch *self, struct error *error);

/* Files wanted that are not here yet; files and bytes that came; those that were there. */
size_t fetch_pending(const struct fetch *self);
size_t fetch_files(const struct fetch *self);
uint64_t fetch_bytes(const struct fetch *self);
size_t fetch_skipped(const struct fetch *self);

#endif
