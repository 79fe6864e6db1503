/* Results that nobody has acknowledged yet, on disk.
 *
 * FOLDER/blobs is a blob store with the files, FOLDER/EPOCH-COUNTER.commit the packed Commit
 * that goes with them. A record is written after its blobs, each synced with its name, so a
 * record that exists is a whole result whatever happened since.
 */
#ifndef FARM_SPOOL_H
#define FARM_SPOOL_H

#include "base/buffer.h"
#include "proto/farm.pb-c.h"
#include "proto/files/blob.h"

enum { SPOOL_BLOBS = 2 };

/* One of a result's files on its way. */
struct spool_blob {
    uint8_t id[BLOB_ID];
    uint64_t size;      /* 0: the result has no such file */
    bool stored;        /* the coordinator has it */
    int64_t offered_ms; /* when it was last offered; 0: not since the link opened */
};

struct spool_entry {
    Farm__Commit *commit;
    struct spool_blob blob[SPOOL_BLOBS]; /* PNG, latents */
    int64_t not_before_ms;               /* back-off after RETRY */
    unsigned retries;
    int64_t announced_ms; /* when its Commit was last given to the loop; 0: not yet */
};

struct spool;

/* Makes the folder when it is missing and reads what is there; a record that is broken or
 * lacks a blob is dropped with a line in the log. The folder is this process's alone:
 * ERROR_BUSY when another has it. */
struct spool *spool_open(const char *folder, struct error *error);
void spool_close(struct spool **self);

/* Takes a result in; on return it is on disk. Fills commit->result's blob ids and sizes;
 * `latents` may be empty. *commit is copied. ERROR_BUSY when the disk is full. */
bool spool_put(struct spool *self, Farm__Commit *commit, const struct buffer *png,
               const struct buffer *latents, struct error *error);

/* Entries 0 .. count - 1, oldest first; borrowed, until the next put or forget. */
size_t spool_count(const struct spool *self);
struct spool_entry *spool_at(struct spool *self, size_t i);
struct spool_entry *spool_find(struct spool *self, uint64_t epoch, uint64_t counter);

/* Removes the record, then the blobs no other record names. */
void spool_forget(struct spool *self, uint64_t epoch, uint64_t counter);

/* Bytes of a blob; 0 when no entry names it. */
uint64_t spool_size(const struct spool *self, const uint8_t id[BLOB_ID]);

/* A range of a blob: ERROR_NOT_FOUND when no entry names it. */
bool spool_read(struct spool *self, const uint8_t id[BLOB_ID], uint64_t offset,
                void *into, size_t size, struct error *error);

#endif
