/* Any rows in the database: what a start makes of them keeps what must hold of a queue, or
 * they are left out. The input is a list of rows: a byte for the table, then its columns, a
 * byte each (numbers, hashes of one byte repeated), texts and packed messages with a length.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/path.h"
#include "coordinator/coordinator.h"
#include "coordinator/load.h"
#include "coordinator/work.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *at, *end;
};

static const char *const tables[] = {
    /* n: number, N: any of 64 bits, i: 16 bytes, h: 32 bytes, t: text, m: message, r: real */
    "key hntnnn",  "token hntnnh",         "blob hN",
    "model htmnn", "job nihhmnNNnNNNnnnn", "result nhhNhNhrNtn",
    "task nNnnt",  "attempt nnnNhhntntn",  "provenance nt",
    "node hnnt",   "speed hnhnnrn",        "usage hrn"};

static uint64_t take(struct input *in, size_t bytes)
{
    uint64_t value = 0;
    for (; bytes && in->at < in->end; bytes--)
        value = value << 8 | *in->at++;
    return value;
}

static void bind_column(sqlite3_stmt *row, int column, char kind, struct input *in)
{
    uint8_t hash[32];
    size_t left = (size_t)(in->end - in->at), length;
    switch (kind) {
    case 'N':
        sqlite3_bind_int64(row, column, (int64_t)take(in, take(in, 1) & 8));
        break;
    case 'r':
        sqlite3_bind_double(row, column, (double)(int64_t)take(in, 8));
        break;
    case 'i':
    case 'h':
        memset(hash, (int)take(in, 1), sizeof hash);
        sqlite3_bind_blob(row, column, hash, kind == 'i' ? 16 : 32, SQLITE_TRANSIENT);
        break;
    case 't':
    case 'm':
        length = (size_t)take(in, 2);
        left = (size_t)(in->end - in->at);
        length = length < left ? length : left;
        if (kind == 't')
            sqlite3_bind_text(row, column, (const char *)in->at, (int)length,
                              SQLITE_TRANSIENT);
        else
            sqlite3_bind_blob(row, column, length ? (const void *)in->at : "",
                              (int)length, SQLITE_TRANSIENT);
        in->at += length;
        break;
    default:
        sqlite3_bind_int64(row, column, (int64_t)(int8_t)take(in, 1));
    }
}

/* Columns that a later schema added are numbers here. */
static int count_columns(sqlite3 *database, const char *table, int length)
{
    char text[80];
    sqlite3_stmt *row = NULL;
    snprintf(text, sizeof text, "SELECT * FROM %.*s", length, table);
    if (sqlite3_prepare_v2(database, text, -1, &row, NULL) != SQLITE_OK)
        abort();
    int count = sqlite3_column_count(row);
    sqlite3_finalize(row);
    return count;
}

static void add_rows(const char *path, struct input *in)
{
    sqlite3 *database = NULL;
    if (sqlite3_open(path, &database) != SQLITE_OK)
        abort();
    sqlite3_exec(database, "PRAGMA foreign_keys=OFF; BEGIN", NULL, NULL, NULL);
    while (in->at < in->end) {
        const char *table = tables[take(in, 1) % (sizeof tables / sizeof *tables)];
        const char *columns = strchr(table, ' ') + 1;
        int name = (int)(columns - 1 - table), known = (int)strlen(columns);
        int count = count_columns(database, table, name);
        char text[200];
        int length = snprintf(text, sizeof text,
                              "INSERT OR REPLACE INTO %.*s VALUES (?", name, table);
        for (int c = 1; c < count; c++)
            length += snprintf(text + length, sizeof text - (size_t)length, ",?");
        snprintf(text + length, sizeof text - (size_t)length, ")");
        sqlite3_stmt *row = NULL;
        if (sqlite3_prepare_v2(database, text, -1, &row, NULL) != SQLITE_OK)
            abort();
        for (int c = 0; c < count; c++)
            bind_column(row, c + 1, c < known ? columns[c] : 'n', in);
        sqlite3_step(row);
        sqlite3_finalize(row);
    }
    sqlite3_exec(database, "COMMIT", NULL, NULL, NULL);
    sqlite3_close(database);
}

static void check(struct coordinator *self)
{
    struct queue_job *job;
    TAILQ_FOREACH(job, &self->queue->open, open)
    {
        uint64_t index;
        struct scheduler_task view;
        if (job->cursor > job->tasks ||
            job->done + job->failed + job->canceled + job->leased + job->sharing >
                job->tasks)
            abort();
        if (queue_next(job, 1, true, 0, &index) && index >= job->tasks)
            abort();
        work_look(self, job, 0, &view);
        job_task(job->tag, &self->models, 0);
    }
}

static void restore(struct coordinator *self)
{
    struct error error = {0};
    registry_init(&self->registry, 1000);
    members_init(&self->members);
    models_init(&self->models);
    recent_init(&self->recent);
    shares_init(&self->shares);
    self->change = change_new();
    self->queue = queue_new(self->epoch, 1000);
    if (load_all(self, &error))
        check(self);
    for (struct queue_job *job = zhashx_first(self->queue->jobs); job;
         job = zhashx_next(self->queue->jobs)) {
        struct job *own = job->tag;
        job_destroy(&own);
    }
    queue_destroy(&self->queue);
    change_destroy(&self->change);
    shares_clear(&self->shares);
    recent_clear(&self->recent);
    models_clear(&self->models);
    members_clear(&self->members);
    registry_clear(&self->registry);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct coordinator_settings settings = {.lease_ms = 1000};
    char folder[] = "/dev/shm/farm-fuzz-XXXXXX";
    struct error error = {0};
    struct input in = {data, data + size};
    log_open("fuzz", (enum log_level)(LOG_ERROR_LINE + 1), LOG_TEXT);
    if (!mkdtemp(folder))
        abort();
    char *path = path_format("%s/farm.db", folder);
    struct coordinator self = {.settings = &settings, .now = 1000};
    self.store = store_open(path, false, &error);
    if (!self.store || !store_begin(self.store, 1, &self.epoch, &error))
        abort();
    add_rows(path, &in);
    restore(&self);
    store_close(&self.store);
    path_remove_tree(folder);
    free(path);
    return 0;
}
