/* The database file, its schema and its health
 *
 * user_version is the schema's version; `steps` brings a database forward one version at a
 * time, each step in one transaction together with the new number. WAL with
 * synchronous=FULL: a commit is on disk when it returns, and readers never wait.
 */
#include "coordinator/store_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/embedded.h"
#include "base/log.h"
#include "base/path.h"

extern const struct embedded_file coordinator_sql[];

/* Names of embedded files, the step to version 1 first. */
static const char *const steps[] = {"schema.sql",   "schema_2.sql", "schema_3.sql",
                                    "schema_4.sql", "schema_5.sql", "schema_6.sql"};
enum { VERSION = sizeof steps / sizeof steps[0] };

bool store_failed(struct store *self, const char *what, struct error *error)
{
    int code = sqlite3_extended_errcode(self->database);
    if ((code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB)
        return error_set(error,
                         "%s is damaged: %s; restore the state folder from a backup",
                         self->path, sqlite3_errmsg(self->database));
    return error_set_kind(error, code == SQLITE_FULL ? ERROR_BUSY : ERROR_FAILED,
                          "%s: %s (%d) in: %.100s", self->path,
                          sqlite3_errmsg(self->database), code, what);
}

bool store_run(struct store *self, const char *sql, struct error *error)
{
    return sqlite3_exec(self->database, sql, NULL, NULL, NULL) == SQLITE_OK ||
           store_failed(self, sql, error);
}

sqlite3_stmt *store_prepared(struct store *self, int slot, const char *sql,
                             struct error *error)
{
    if (!self->prepared[slot] &&
        sqlite3_prepare_v3(self->database, sql, -1, SQLITE_PREPARE_PERSISTENT,
                           &self->prepared[slot], NULL) != SQLITE_OK)
        store_failed(self, sql, error);
    return self->prepared[slot];
}

/* The first value of the first row, as text of at most 200 bytes. */
static bool read_text(struct store *self, const char *sql, char text[200],
                      struct error *error)
{
    sqlite3_stmt *statement = NULL;
    bool ok =
        sqlite3_prepare_v2(self->database, sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW;
    if (ok)
        snprintf(text, 200, "%s", (const char *)sqlite3_column_text(statement, 0));
    else
        store_failed(self, sql, error);
    sqlite3_finalize(statement);
    return ok;
}

static bool bring_forward(struct store *self, struct error *error)
{
    char text[200];
    if (!read_text(self, "PRAGMA user_version", text, error))
        return false;
    long version = strtol(text, NULL, 10);
    if (version > VERSION)
        return error_set_kind(error, ERROR_INPUT,
                              "%s: written by a newer clfarm (schema %ld, this one "
                              "knows %d); use that version",
                              self->path, version, VERSION);
    for (; version < VERSION; version++) {
        const struct embedded_file *file = coordinator_sql;
        while (strcmp(file->name, steps[version]) != 0)
            file++;
        char *number = path_format("PRAGMA user_version = %ld", version + 1);
        bool ok = store_run(self, "BEGIN IMMEDIATE", error) &&
                  store_run(self, file->text, error) &&
                  store_run(self, number, error) && store_run(self, "COMMIT", error);
        free(number);
        if (!ok)
            return false;
    }
    return true;
}

struct store *store_connect(const char *path, struct error *error)
{
    struct store *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->path = path_format("%s", path);
    bool ok = sqlite3_open_v2(path, &self->database,
                              SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                                  SQLITE_OPEN_NOMUTEX,
                              NULL) == SQLITE_OK ||
              store_failed(self, "open", error);
    if (ok)
        sqlite3_busy_timeout(self->database, 10000);
    ok = ok && store_run(self,
                         "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                         "PRAGMA foreign_keys = ON; PRAGMA cache_size = -65536;"
                         "PRAGMA temp_store = MEMORY;"
                         "CREATE TEMP TABLE gone (number INTEGER PRIMARY KEY)",
                         error);
    if (!ok)
        store_close(&self);
    return self;
}

static bool check(struct store *self, bool full, struct error *error)
{
    char text[200];
    if (!read_text(self, full ? "PRAGMA integrity_check(1)" : "PRAGMA quick_check(1)",
                   text, error))
        return false;
    if (strcmp(text, "ok") != 0)
        return error_set(error,
                         "%s is damaged: %s; restore the state folder from a backup",
                         self->path, text);
    sqlite3_stmt *statement = NULL;
    if (full &&
        sqlite3_prepare_v2(self->database, "PRAGMA foreign_key_check", -1, &statement,
                           NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW) {
        error_set(error, "%s is damaged: a row of table %s names one that is missing",
                  self->path, (const char *)sqlite3_column_text(statement, 0));
        sqlite3_finalize(statement);
        return false;
    }
    sqlite3_finalize(statement);
    return true;
}

struct store *store_open(const char *path, bool full, struct error *error)
{
    char clean[200] = "1";
    struct store *self = store_connect(path, error);
    bool ok = self && bring_forward(self, error) &&
              read_text(self, "SELECT clean FROM farm", clean, error);
    bool crashed = strcmp(clean, "1") != 0;
    if (ok && crashed)
        log_info("%s: the last run did not end in good order; checking", path);
    ok = ok && ((!crashed && !full) || check(self, full, error));
    if (!ok)
        store_close(&self);
    return self;
}

void store_close(struct store **self)
{
    if (!*self)
        return;
    size_t count = sizeof(*self)->prepared / sizeof(*self)->prepared[0];
    for (size_t s = 0; s < count; s++)
        sqlite3_finalize((*self)->prepared[s]);
    sqlite3_close((*self)->database);
    free((*self)->path);
    free(*self);
    *self = NULL;
}

bool store_begin(struct store *self, int64_t unix_now, uint64_t *epoch,
                 struct error *error)
{
    char text[200];
    char *sql = path_format(
        "UPDATE farm SET epoch = max(epoch + 1, %" PRId64 "), clean = 0", unix_now);
    bool ok = store_run(self, sql, error) &&
              read_text(self, "SELECT epoch FROM farm", text, error);
    if (ok)
        *epoch = strtoull(text, NULL, 10);
    free(sql);
    return ok;
}

bool store_end(struct store *self, struct error *error)
{
    return store_run(self, "UPDATE farm SET clean = 1", error);
}
