/* Rows about nodes and submitters that steer scheduling, and what people ask of the past. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/store_private.h"

static void id_of(sqlite3_stmt *row, int column, uint8_t id[32])
{
    memset(id, 0, 32);
    if (sqlite3_column_bytes(row, column) == 32)
        memcpy(id, sqlite3_column_blob(row, column), 32);
}

static bool ended(struct store *self, sqlite3_stmt *row, int status,
                  struct error *error)
{
    bool ok = status == SQLITE_DONE || store_failed(self, sqlite3_sql(row), error);
    sqlite3_reset(row);
    return ok;
}

bool store_node(struct store *self, const uint8_t worker[32], uint32_t device,
                void (*take)(void *, const struct node_row *), void *context,
                struct error *error)
{
    sqlite3_stmt *row = store_prepared(
        self, READ_NODE,
        "SELECT state, reason FROM node WHERE worker = ? AND device = ?", error);
    if (!row)
        return false;
    sqlite3_bind_blob(row, 1, worker, 32, SQLITE_STATIC);
    sqlite3_bind_int64(row, 2, device);
    int status;
    while ((status = sqlite3_step(row)) == SQLITE_ROW) {
        struct node_row node = {.device = device,
                                .state = sqlite3_column_int(row, 0),
                                .reason = (const char *)sqlite3_column_text(row, 1)};
        memcpy(node.worker, worker, 32);
        take(context, &node);
    }
    return ended(self, row, status, error);
}

bool store_speeds(struct store *self, const uint8_t worker[32], uint32_t device,
                  void (*take)(void *, const struct speed_row *), void *context,
                  struct error *error)
{
    sqlite3_stmt *row =
        store_prepared(self, READ_SPEEDS,
                       "SELECT model, size_class, batch, step_pixels_per_s, images "
                       "FROM speed WHERE worker = ? AND device = ?",
                       error);
    if (!row)
        return false;
    sqlite3_bind_blob(row, 1, worker, 32, SQLITE_STATIC);
    sqlite3_bind_int64(row, 2, device);
    int status;
    while ((status = sqlite3_step(row)) == SQLITE_ROW) {
        struct speed_row speed = {
            .device = device,
            .size_class = (uint32_t)sqlite3_column_int64(row, 1),
            .batch = (uint32_t)sqlite3_column_int64(row, 2),
            .step_pixels_per_s = sqlite3_column_double(row, 3),
            .images = (uint64_t)sqlite3_column_int64(row, 4),
        };
        memcpy(speed.worker, worker, 32);
        id_of(row, 0, speed.model);
        take(context, &speed);
    }
    return ended(self, row, status, error);
}

bool store_usages(struct store *self, void (*take)(void *, const struct usage_row *),
                  void *context, struct error *error)
{
    sqlite3_stmt *row = store_prepared(
        self, READ_USAGES, "SELECT submitter, step_pixels, at FROM usage", error);
    int status = SQLITE_DONE;
    while (row && (status = sqlite3_step(row)) == SQLITE_ROW) {
        struct usage_row usage = {.step_pixels = sqlite3_column_double(row, 1),
                                  .at = sqlite3_column_int64(row, 2)};
        id_of(row, 0, usage.submitter);
        take(context, &usage);
    }
    return row && ended(self, row, status, error);
}

bool store_tunings(struct store *self, const char *kind, const uint8_t identity[16],
                   void (*take)(void *, const struct tuning_row *), void *context,
                   struct error *error)
{
    sqlite3_stmt *row = store_prepared(
        self, READ_TUNINGS,
        "SELECT kind, identity, shape, variant, gain, at, node FROM tuning WHERE ?1 IS "
        "NULL OR (kind = ?1 AND identity = ?2) ORDER BY at DESC, kind, shape",
        error);
    if (!row)
        return false;
    sqlite3_bind_text(row, 1, kind, -1, SQLITE_STATIC);
    sqlite3_bind_blob(row, 2, identity, identity ? 16 : 0, SQLITE_STATIC);
    int status;
    while ((status = sqlite3_step(row)) == SQLITE_ROW) {
        struct tuning_row tuning = {.kind = (const char *)sqlite3_column_text(row, 0),
                                    .shape = (const char *)sqlite3_column_text(row, 2),
                                    .variant =
                                        (const char *)sqlite3_column_text(row, 3),
                                    .gain = sqlite3_column_double(row, 4),
                                    .at = sqlite3_column_int64(row, 5),
                                    .node = (const char *)sqlite3_column_text(row, 6)};
        memcpy(tuning.identity, sqlite3_column_blob(row, 1), 16);
        take(context, &tuning);
    }
    bool ok = ended(self, row, status, error);
    sqlite3_clear_bindings(row);
    return ok;
}

bool store_job_size(struct store *self, int64_t job, uint64_t first, uint64_t end,
                    uint64_t *files, uint64_t *bytes, struct error *error)
{
    sqlite3_stmt *row = store_prepared(
        self, READ_JOB_SIZE,
        "SELECT count(*) + count(latents), "
        "coalesce(sum(png_size + latents_size), 0) FROM task JOIN result ON "
        "result.number = task.result WHERE job = ? AND position >= ? AND position < ?",
        error);
    if (!row)
        return false;
    sqlite3_bind_int64(row, 1, job);
    sqlite3_bind_int64(row, 2, (int64_t)first);
    sqlite3_bind_int64(row, 3, (int64_t)end);
    int status = sqlite3_step(row);
    bool ok = status == SQLITE_ROW || store_failed(self, "adding up sizes", error);
    if (ok) {
        *files = (uint64_t)sqlite3_column_int64(row, 0);
        *bytes = (uint64_t)sqlite3_column_int64(row, 1);
    }
    sqlite3_reset(row);
    return ok;
}

#define LOG_COLUMNS "SELECT job, position, node, started, ended, fault FROM attempt "

bool store_log(struct store *self, int64_t job, const char *node, uint32_t limit,
               void (*take)(void *, const struct attempt_row *), void *context,
               struct error *error)
{
    sqlite3_stmt *row =
        job ? store_prepared(self, READ_JOB_LOG,
                             LOG_COLUMNS "WHERE job = ?1 AND ended NOT IN ('', 'done', "
                                         "'done elsewhere') ORDER BY position, started "
                                         "LIMIT ?2",
                             error)
            : store_prepared(self, READ_NODE_LOG,
                             LOG_COLUMNS "WHERE node = ?1 AND fault = 1 "
                                         "ORDER BY started DESC LIMIT ?2",
                             error);
    if (!row)
        return false;
    if (job)
        sqlite3_bind_int64(row, 1, job);
    else
        sqlite3_bind_text(row, 1, node, -1, SQLITE_STATIC);
    sqlite3_bind_int64(row, 2, limit);
    int status;
    while ((status = sqlite3_step(row)) == SQLITE_ROW) {
        struct attempt_row attempt = {
            .job = sqlite3_column_int64(row, 0),
            .index = (uint64_t)sqlite3_column_int64(row, 1),
            .node = (const char *)sqlite3_column_text(row, 2),
            .started = sqlite3_column_int64(row, 3),
            .ended = (const char *)sqlite3_column_text(row, 4),
            .fault = sqlite3_column_int(row, 5) != 0,
        };
        take(context, &attempt);
    }
    return ended(self, row, status, error);
}
