/* A file of this machine on its way into a store: linked or copied, hashed, named. In slices,
 * so that gigabytes keep nobody waiting who has other things to do.
 */
#ifndef FARM_INTAKE_H
#define FARM_INTAKE_H

#include "proto/files/blob.h"

enum intake_state { INTAKE_MORE, INTAKE_DONE, INTAKE_FAILED };

struct intake;

/* The store is borrowed. */
struct intake *intake_new(struct blob_store *store, const char *path,
                          const uint8_t id[BLOB_ID]);
void intake_destroy(struct intake **self);

/* Copies or hashes at most so many bytes (a block at least). DONE: the store has it, and the
 * caller syncs. */
enum intake_state intake_step(struct intake *self, size_t most, struct error *error);

/* Hashing a file in slices: opened, read until it gives INTAKE_DONE; then `id` is its. */
struct file_hash;
struct file_hash *file_hash_open(const char *path, struct error *error);
void file_hash_close(struct file_hash **self);
enum intake_state file_hash_step(struct file_hash *self, size_t most,
                                 struct error *error);
const uint8_t *file_hash_id(const struct file_hash *self, uint64_t *size);

#endif
