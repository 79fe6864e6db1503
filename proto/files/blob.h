/* Content-addressed files: a blob is named by the BLAKE2b-256 of its bytes.
 *
 * A store is a folder: FOLDER/ab/abcdef..., two hex digits, then all 64. A file under its
 * final name is complete and was verified. Unfinished files lie in FOLDER/new/. Several
 * processes may share a store.
 */
#ifndef FARM_BLOB_H
#define FARM_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { BLOB_ID = 32, BLOB_TEXT = 65, BLOB_PIECE = 4 << 20 };

void blob_id(const void *data, size_t size, uint8_t id[BLOB_ID]);
void blob_format(const uint8_t id[BLOB_ID], char text[BLOB_TEXT]);
bool blob_parse(const char *text, uint8_t id[BLOB_ID], struct error *error);

/* Hashes a file; *size gets its bytes and may be NULL. */
bool blob_id_of_file(const char *path, uint8_t id[BLOB_ID], uint64_t *size,
                     struct error *error);

struct blob_store;

/* Makes the folder when it is missing. Whoever opens it while no other process has it open
 * empties FOLDER/new/, partial files that a transfer may resume (a week at most) aside. */
struct blob_store *blob_store_open(const char *folder, struct error *error);
void blob_store_close(struct blob_store **self);

/* Where the blob lies or would lie; heap, the caller's. */
char *blob_path(const struct blob_store *self, const uint8_t id[BLOB_ID]);

/* Whether it is here; *size may be NULL. */
bool blob_has(const struct blob_store *self, const uint8_t id[BLOB_ID], uint64_t *size);

/* Takes a file in by reflink, hard link or copy, whichever works first; verifies its
 * content against the id. The caller syncs. */
bool blob_import(struct blob_store *self, const char *path, const uint8_t id[BLOB_ID],
                 struct error *error);

/* Writes a whole blob; the id is computed and returned. sync: on disk, name included,
 * before it returns. */
bool blob_put(struct blob_store *self, const void *data, size_t size, bool sync,
              uint8_t id[BLOB_ID], struct error *error);

/* Gives a finished file of FOLDER/new/ its name and removes `temporary`; content is the
 * caller's to have verified, and the syncing. Nothing changes when the blob is here. */
bool blob_adopt(struct blob_store *self, const char *temporary,
                const uint8_t id[BLOB_ID], struct error *error);

/* FOLDER/new/NAME; heap, the caller's. */
char *blob_new_path(const struct blob_store *self, const char *name);

/* Reads a range of a blob: ERROR_NOT_FOUND, or ERROR_INPUT beyond its end. */
bool blob_read(const struct blob_store *self, const uint8_t id[BLOB_ID],
               uint64_t offset, void *into, size_t size, struct error *error);

/* Tells those who collect garbage that somebody spoke of it now. */
void blob_touch(const struct blob_store *self, const uint8_t id[BLOB_ID]);

bool blob_remove(struct blob_store *self, const uint8_t id[BLOB_ID],
                 struct error *error);

/* Makes every name and byte of the store durable (syncfs): one call for a whole group. */
bool blob_store_sync(struct blob_store *self, struct error *error);

#endif
