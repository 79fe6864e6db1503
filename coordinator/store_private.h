/* What the store's own files share: nobody else sees SQLite. */
#ifndef FARM_STORE_PRIVATE_H
#define FARM_STORE_PRIVATE_H

#include <sqlite3.h>

#include "coordinator/store.h"

/* Slots of prepared statements: those of changes, then those that read. */
enum {
    READ_KEYS = CHANGE_KINDS,
    READ_TOKENS,
    READ_MODELS,
    READ_JOBS,
    READ_ATTEMPTS,
    READ_TASKS,
    READ_TASK_STATES,
    READ_HISTORY,
    READ_RESULT,
    READ_LAST_RESULT,
    READ_SPECIFICATION,
    READ_BLOBS,
    READ_BLOB,
    READ_NODE,
    READ_SPEEDS,
    READ_USAGES,
    READ_TUNINGS,
    READ_CHECKPOINTS,
    READ_JOB_SIZE,
    READ_JOB_LOG,
    READ_NODE_LOG,
    STORE_SLOTS,
};

struct store {
    sqlite3 *database;
    char *path;
    sqlite3_stmt *prepared[STORE_SLOTS];
};

/* A connection with the pragmas set and the schema as it is found. */
struct store *store_connect(const char *path, struct error *error);

/* Runs statements that give no rows. */
bool store_run(struct store *self, const char *sql, struct error *error);

/* The statement of that slot, prepared once; NULL with an error. */
sqlite3_stmt *store_prepared(struct store *self, int slot, const char *sql,
                             struct error *error);

/* Says what SQLite said; returns false. */
bool store_failed(struct store *self, const char *what, struct error *error);

#endif
