/* Rows about nodes and submitters that steer scheduling. */
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
