/* The database: what the coordinator remembers over a crash.
 *
 * `struct store` is a connection that reads, and writes only before and after the loop
 * runs. While it runs, the store actor alone writes, through a connection of its own.
 */
#ifndef FARM_STORE_H
#define FARM_STORE_H

#include <czmq.h>

#include "base/error.h"
#include "coordinator/change.h"

struct store;

/* Opens or makes the database file; brings an older schema forward, refuses a newer one.
 * After a stop that was none (a crash) a quick check runs first, with `full` a full one. */
struct store *store_open(const char *path, bool full, struct error *error);
void store_close(struct store **self);

/* A start: the new epoch, max(last + 1, unix_now), durable when it returns; a stop in good
 * order, after the actor ended. */
bool store_begin(struct store *self, int64_t unix_now, uint64_t *epoch,
                 struct error *error);
bool store_end(struct store *self, struct error *error);

/* Applies changes in one durable transaction (the actor's work, and that of tests). */
bool store_apply(struct store *self, struct change *const *changes, size_t count,
                 struct error *error);

/* Rows are handed to `take` one by one and are valid during the call only; it must not
 * read from the store. All return false with an error of the database. */
bool store_keys(struct store *self, void (*take)(void *, const struct key_row *),
                void *context, struct error *error);
bool store_tokens(struct store *self, void (*take)(void *, const struct token_row *),
                  void *context, struct error *error);
bool store_models(struct store *self, void (*take)(void *, const struct model_row *),
                  void *context, struct error *error);
bool store_jobs(struct store *self, void (*take)(void *, const struct job_row *),
                void *context, struct error *error);

/* Of one device of a worker: how it is steered, if it is; what was measured there. */
bool store_node(struct store *self, const uint8_t worker[32], uint32_t device,
                void (*take)(void *, const struct node_row *), void *context,
                struct error *error);
bool store_speeds(struct store *self, const uint8_t worker[32], uint32_t device,
                  void (*take)(void *, const struct speed_row *), void *context,
                  struct error *error);
bool store_usages(struct store *self, void (*take)(void *, const struct usage_row *),
                  void *context, struct error *error);

/* Of one kind and identity, or of all (kind NULL), the newest first. */
bool store_tunings(struct store *self, const char *kind, const uint8_t identity[16],
                   void (*take)(void *, const struct tuning_row *), void *context,
                   struct error *error);

bool store_checkpoints(struct store *self,
                       void (*take)(void *, const struct checkpoint_row *),
                       void *context, struct error *error);

bool store_blobs(struct store *self,
                 void (*take)(void *, const uint8_t id[32], uint64_t size),
                 void *context, struct error *error);

/* Whether the blob has a row: then something needs it. An error of the database is true. */
bool store_has_blob(struct store *self, const uint8_t id[32]);

/* Attempts of open jobs that are open themselves or count as faults. */
bool store_attempts(struct store *self,
                    void (*take)(void *, const struct attempt_row *), void *context,
                    struct error *error);

/* Tasks of a job that ended, from index `first` on, `limit` at most; `result` is NULL
 * without one. */
bool store_tasks(struct store *self, int64_t job, uint64_t first, uint64_t limit,
                 void (*take)(void *, const struct task_row *,
                              const struct result_row *result),
                 void *context, struct error *error);

/* The same tasks, all of them, when only their states matter. */
bool store_task_states(struct store *self, int64_t job,
                       void (*take)(void *, uint64_t index, int state), void *context,
                       struct error *error);

/* All attempts of a task, in the order they started. */
bool store_history(struct store *self, int64_t job, uint64_t index,
                   void (*take)(void *, const struct attempt_row *), void *context,
                   struct error *error);

/* The newest result for a task key, with latents when asked; ERROR_NOT_FOUND. the
 * row's texts are the caller's: result_row_clear. */
bool store_result(struct store *self, const uint8_t key[32], bool latents,
                  struct result_row *into, struct error *error);

/* Many reads in a row: from the first on they see one moment of the database, and its
 * locks are taken once. */
bool store_read_begin(struct store *self, struct error *error);
bool store_read_end(struct store *self, struct error *error);

/* The highest result number in use; 0 for none. */
bool store_last_result(struct store *self, int64_t *number, struct error *error);

/* The packed specification of a job, appended. */
bool store_specification(struct store *self, int64_t job, struct buffer *into,
                         struct error *error);

/* A copy of a database that may be in use: one moment of it, durable. */
bool store_backup(const char *from, const char *to, struct error *error);

/* Takes out of a database nobody uses what needs these blobs: results go, their tasks are
 * ready again and their jobs open, models are incomplete. */
struct store_repaired {
    uint64_t tasks, models;
};
bool store_repair(struct store *self, const uint8_t (*missing)[32], size_t count,
                  struct store_repaired *done, struct error *error);

/* Files and bytes of the results of a job's tasks from `first` to before `end`. */
bool store_job_size(struct store *self, int64_t job, uint64_t first, uint64_t end,
                    uint64_t *files, uint64_t *bytes, struct error *error);

/* Attempts that ended without a result: of a job in the order of its tasks, or (job 0) the
 * faults of the node of that name, newest first; at most `limit`. */
bool store_log(struct store *self, int64_t job, const char *node, uint32_t limit,
               void (*take)(void *, const struct attempt_row *), void *context,
               struct error *error);

/* The actor
 *
 * Commits whatever queued during the commit before, with no timer. Before a transaction
 * that names blobs it makes their file system durable (sync_folder, a descriptor), and
 * before one that the audit tells of, the audit (change.sync). */
struct store_actor *store_actor_new(const char *path, int sync_folder,
                                    struct error *error);

/* Commits what was handed over, then ends. */
void store_actor_destroy(struct store_actor **self);

/* Hands a change over; its number, counted from 1. */
uint64_t store_actor_commit(struct store_actor *self, struct change **change);

/* Readable when a commit was reported. */
zsock_t *store_actor_socket(struct store_actor *self);

/* The number of the last durable change; false, with the reason, when a commit failed:
 * the process must then end without telling anybody what it decided since. Does not
 * block, unless `wait`: then until all that was handed over is durable. */
bool store_actor_durable(struct store_actor *self, bool wait, uint64_t *number,
                         struct error *error);

#endif
