/* Copying a database that is in use, and bringing one in line with the files there are. */
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "coordinator/store_private.h"
#include "proto/farm.pb-c.h"

bool store_backup(const char *from, const char *to, struct error *error)
{
    struct store *source = store_connect(from, error);
    struct store *copy = source ? store_connect(to, error) : NULL;
    sqlite3_backup *backup =
        copy ? sqlite3_backup_init(copy->database, "main", source->database, "main")
             : NULL;
    /* All pages in one step, of one read transaction: steps would begin anew whenever the
     * farm commits. Writers go on meanwhile, into the log. */
    bool ok = backup && sqlite3_backup_step(backup, -1) == SQLITE_DONE;
    if (copy && !ok)
        store_failed(copy, "copying the database", error);
    sqlite3_backup_finish(backup);
    ok = ok && store_run(copy, "PRAGMA wal_checkpoint(TRUNCATE)", error);
    store_close(&copy);
    store_close(&source);
    return ok;
}

static bool note_missing(struct store *self, const uint8_t (*missing)[32], size_t count,
                         struct error *error)
{
    sqlite3_stmt *row = NULL;
    bool ok =
        store_run(self, "CREATE TEMP TABLE missing (id BLOB PRIMARY KEY)", error) &&
        (sqlite3_prepare_v2(self->database, "INSERT OR IGNORE INTO missing VALUES (?)",
                            -1, &row, NULL) == SQLITE_OK ||
         store_failed(self, "missing", error));
    for (size_t i = 0; ok && i < count; i++) {
        sqlite3_bind_blob(row, 1, missing[i], 32, SQLITE_STATIC);
        ok = sqlite3_step(row) == SQLITE_DONE || store_failed(self, "missing", error);
        sqlite3_reset(row);
    }
    sqlite3_finalize(row);
    return ok;
}

static bool names_missing(struct store *self, const Farm__Manifest *manifest)
{
    bool found = false;
    sqlite3_stmt *row = NULL;
    sqlite3_prepare_v2(self->database, "SELECT 1 FROM missing WHERE id = ?", -1, &row,
                       NULL);
    for (size_t f = 0; row && !found && f < manifest->n_files; f++) {
        sqlite3_bind_blob(row, 1, manifest->files[f]->blob.data, 32, SQLITE_STATIC);
        found = sqlite3_step(row) == SQLITE_ROW;
        sqlite3_reset(row);
    }
    sqlite3_finalize(row);
    return found;
}

static bool mark_models(struct store *self, uint64_t *models, struct error *error)
{
    sqlite3_stmt *row = NULL, *mark = NULL;
    bool ok =
        sqlite3_prepare_v2(self->database,
                           "SELECT id, manifest FROM model WHERE complete = 1", -1,
                           &row, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(self->database, "UPDATE model SET complete = 0 WHERE id = ?",
                           -1, &mark, NULL) == SQLITE_OK;
    while (ok && sqlite3_step(row) == SQLITE_ROW) {
        Farm__Manifest *manifest = farm__manifest__unpack(
            NULL, (size_t)sqlite3_column_bytes(row, 1), sqlite3_column_blob(row, 1));
        if (manifest && names_missing(self, manifest)) {
            sqlite3_bind_blob(mark, 1, sqlite3_column_blob(row, 0), 32,
                              SQLITE_TRANSIENT);
            ok = sqlite3_step(mark) == SQLITE_DONE;
            sqlite3_reset(mark);
            ++*models;
        }
        if (manifest)
            farm__manifest__free_unpacked(manifest, NULL);
    }
    if (!ok)
        store_failed(self, "models", error);
    sqlite3_finalize(row);
    sqlite3_finalize(mark);
    return ok;
}

/* A result without its files is none; a task without its result is ready, whatever became
 * of its job, unless that was canceled. */
static const char repair[] =
    "CREATE TEMP TABLE lost AS SELECT number FROM result WHERE png IN missing "
    "OR latents IN missing;"
    "UPDATE job SET state = 0, ended = 0, done = 0, failed = 0, canceled = 0 "
    "WHERE state IN (1, 2) AND number IN (SELECT job FROM task WHERE result IN lost);";
static const char forget[] = "DELETE FROM provenance WHERE result IN lost;"
                             "DELETE FROM result WHERE number IN lost;"
                             "DELETE FROM blob WHERE id IN missing;"
                             "DROP TABLE lost;";

bool store_repair(struct store *self, const uint8_t (*missing)[32], size_t count,
                  struct store_repaired *done, struct error *error)
{
    if (!count)
        return true;
    bool ok = note_missing(self, missing, count, error) &&
              store_run(self, "BEGIN IMMEDIATE", error) &&
              store_run(self, repair, error) &&
              store_run(self, "DELETE FROM task WHERE result IN lost", error);
    if (ok)
        done->tasks = (uint64_t)sqlite3_changes64(self->database);
    ok = ok && store_run(self, forget, error) &&
         mark_models(self, &done->models, error) && store_run(self, "COMMIT", error);
    if (!ok && !sqlite3_get_autocommit(self->database))
        store_run(self, "ROLLBACK", NULL);
    store_run(self, "DROP TABLE IF EXISTS missing", NULL);
    return ok;
}
