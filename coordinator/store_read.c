#include "coordinator/store_private.h"

#include <stdlib.h>
#include <string.h>

/* Copies a blob column of exactly `size` bytes; anything else, NULL too, becomes zeros. */
static void bytes(sqlite3_stmt *row, int column, void *into, size_t size)
{
    const void *data = sqlite3_column_blob(row, column);
    if (data && (size_t)sqlite3_column_bytes(row, column) == size)
        memcpy(into, data, size);
    else
        memset(into, 0, size);
}

static const char *text(sqlite3_stmt *row, int column)
{
    const unsigned char *value = sqlite3_column_text(row, column);
    return value ? (const char *)value : "";
}

static int64_t integer(sqlite3_stmt *row, int column)
{
    return sqlite3_column_int64(row, column);
}

static uint64_t count(sqlite3_stmt *row, int column)
{
    return (uint64_t)sqlite3_column_int64(row, column);
}

/* Ends a walk over rows; `status` is the last step's. */
static bool finish(struct store *self, sqlite3_stmt *row, int status,
                   struct error *error)
{
    bool ok = status == SQLITE_DONE || store_failed(self, sqlite3_sql(row), error);
    sqlite3_reset(row);
    return ok;
}

bool store_keys(struct store *self, void (*take)(void *, const struct key_row *),
                void *context, struct error *error)
{
    sqlite3_stmt *row = store_prepared(self, READ_KEYS,
                                       "SELECT public_key, role, name, created, "
                                       "revoked, greeted FROM key ORDER BY created",
                                       error);
    int status = SQLITE_DONE;
    while (row && (status = sqlite3_step(row)) == SQLITE_ROW) {
        struct key_row key = {
            .role = (int)integer(row, 1),
            .name = text(row, 2),
            .created = integer(row, 3),
            .revoked = integer(row, 4),
            .greeted = integer(row, 5) != 0,
        };
        bytes(row, 0, key.public_key, 32);
        take(context, &key);
    }
    return row && finish(self, row, status, error);
}

bool store_tokens(struct store *self, void (*take)(void *, const struct token_row *),
                  void *context, struct error *error)
{
    sqlite3_stmt *row = store_prepared(self, READ_TOKENS,
                                       "SELECT join_key, role, name, created, expires, "
                                       "used_by FROM token",
                                       error);
    int status = SQLITE_DONE;
    while (row && (status = sqlite3_step(row)) == SQLITE_ROW) {
        struct token_row token = {
            .role = (int)integer(row, 1),
            .name = text(row, 2),
            .created = integer(row, 3),
            .expires = integer(row, 4),
            .used = sqlite3_column_type(row, 5) != SQLITE_NULL,
        };
        bytes(row, 0, token.join_key, 32);
        bytes(row, 5, token.used_by, 32);
        take(context, &token);
    }
    return row && finish(self, row, status, error);
}

bool store_models(struct store *self, void (*take)(void *, const struct model_row *),
                  void *context, struct error *error)
{
    sqlite3_stmt *row = store_prepared(self, READ_MODELS,
                                       "SELECT id, name, manifest, complete, added "
                                       "FROM model ORDER BY added",
                                       error);
    int status = SQLITE_DONE;
    while (row && (status = sqlite3_step(row)) == SQLITE_ROW) {
        struct model_row model = {
            .name = text(row, 1),
            .manifest = sqlite3_column_blob(row, 2),
            .manifest_size = (size_t)sqlite3_column_bytes(row, 2),
            .complete = integer(row, 3) != 0,
            .added = integer(row, 4),
        };
        bytes(row, 0, model.id, 32);
        take(context, &model);
    }
    return row && finish(self, row, status, error);
}

bool store_jobs(struct store *self, void (*take)(void *, const struct job_row *),
                void *context, struct error *error)
{
    sqlite3_stmt *row =
        store_prepared(self, READ_JOBS,
                       "SELECT number, id, submitter, content, specification, latents, "
                       "tasks, cursor, state, done, failed, canceled, created, ended, "
                       "priority, paused, device_kind "
                       "FROM job ORDER BY number",
                       error);
    int status = SQLITE_DONE;
    while (row && (status = sqlite3_step(row)) == SQLITE_ROW) {
        struct job_row job = {
            .number = integer(row, 0),
            .specification = sqlite3_column_blob(row, 4),
            .specification_size = (size_t)sqlite3_column_bytes(row, 4),
            .latents = integer(row, 5) != 0,
            .tasks = count(row, 6),
            .cursor = count(row, 7),
            .state = (int)integer(row, 8),
            .done = count(row, 9),
            .failed = count(row, 10),
            .canceled = count(row, 11),
            .created = integer(row, 12),
            .ended = integer(row, 13),
            .priority = (int32_t)integer(row, 14),
            .paused = integer(row, 15) != 0,
            .device_kind = text(row, 16),
        };
        bytes(row, 1, job.id, 16);
        bytes(row, 2, job.submitter, 32);
        bytes(row, 3, job.content, 32);
        take(context, &job);
    }
    return row && finish(self, row, status, error);
}

bool store_checkpoints(struct store *self,
                       void (*take)(void *, const struct checkpoint_row *),
                       void *context, struct error *error)
{
    sqlite3_stmt *row = store_prepared(
        self, READ_CHECKPOINTS,
        "SELECT key, job, blob, size, step, epoch, counter, kind FROM checkpoint",
        error);
    int status = SQLITE_DONE;
    while (row && (status = sqlite3_step(row)) == SQLITE_ROW) {
        struct checkpoint_row checkpoint = {
            .job = integer(row, 1),
            .size = count(row, 3),
            .step = (uint32_t)integer(row, 4),
            .epoch = count(row, 5),
            .counter = count(row, 6),
            .kind = text(row, 7),
        };
        bytes(row, 0, checkpoint.key, 32);
        bytes(row, 2, checkpoint.blob, 32);
        take(context, &checkpoint);
    }
    return row && finish(self, row, status, error);
}

bool store_blobs(struct store *self,
                 void (*take)(void *, const uint8_t id[32], uint64_t size),
                 void *context, struct error *error)
{
    sqlite3_stmt *row =
        store_prepared(self, READ_BLOBS, "SELECT id, size FROM blob", error);
    int status = SQLITE_DONE;
    while (row && (status = sqlite3_step(row)) == SQLITE_ROW) {
        uint8_t id[32];
        bytes(row, 0, id, sizeof id);
        take(context, id, count(row, 1));
    }
    return row && finish(self, row, status, error);
}

static void attempt_of(sqlite3_stmt *row, struct attempt_row *attempt)
{
    *attempt = (struct attempt_row){
        .epoch = count(row, 0),
        .counter = count(row, 1),
        .job = integer(row, 2),
        .index = count(row, 3),
        .device = (uint32_t)integer(row, 6),
        .node = text(row, 7),
        .started = integer(row, 8),
        .ended = text(row, 9),
        .fault = integer(row, 10) != 0,
    };
    bytes(row, 4, attempt->key, 32);
    bytes(row, 5, attempt->worker, 32);
}

bool store_attempts(struct store *self,
                    void (*take)(void *, const struct attempt_row *), void *context,
                    struct error *error)
{
    sqlite3_stmt *row = store_prepared(
        self, READ_ATTEMPTS,
        "SELECT epoch, counter, job, position, key, worker, device, node, started, "
        "ended, fault FROM attempt WHERE job IN (SELECT number FROM job WHERE state = "
        "0) "
        "AND (ended = '' OR fault = 1) ORDER BY epoch, counter",
        error);
    int status = SQLITE_DONE;
    while (row && (status = sqlite3_step(row)) == SQLITE_ROW) {
        struct attempt_row attempt;
        attempt_of(row, &attempt);
        take(context, &attempt);
    }
    return row && finish(self, row, status, error);
}

bool store_history(struct store *self, int64_t job, uint64_t index,
                   void (*take)(void *, const struct attempt_row *), void *context,
                   struct error *error)
{
    sqlite3_stmt *row = store_prepared(
        self, READ_HISTORY,
        "SELECT epoch, counter, job, position, key, worker, device, node, started, "
        "ended, fault FROM attempt WHERE job = ? AND position = ? "
        "ORDER BY epoch, counter",
        error);
    if (!row)
        return false;
    sqlite3_bind_int64(row, 1, job);
    sqlite3_bind_int64(row, 2, (int64_t)index);
    int status;
    while ((status = sqlite3_step(row)) == SQLITE_ROW) {
        struct attempt_row attempt;
        attempt_of(row, &attempt);
        take(context, &attempt);
    }
    return finish(self, row, status, error);
}

#define RESULT_COLUMNS                                                                 \
    "result.number, result.key, png, png_size, latents, latents_size, pixels, "        \
    "seconds, step_pixels, node, superseded, provenance.text"
#define RESULT_PROVENANCE " LEFT JOIN provenance ON provenance.result = result.number "

static void result_of(sqlite3_stmt *row, int first, struct result_row *result)
{
    *result = (struct result_row){
        .number = integer(row, first),
        .png_size = count(row, first + 3),
        .has_latents = sqlite3_column_type(row, first + 4) != SQLITE_NULL,
        .latents_size = count(row, first + 5),
        .seconds = sqlite3_column_double(row, first + 7),
        .step_pixels = count(row, first + 8),
        .node = text(row, first + 9),
        .superseded = integer(row, first + 10) != 0,
        .provenance = text(row, first + 11),
    };
    bytes(row, first + 1, result->key, 32);
    bytes(row, first + 2, result->png, 32);
    bytes(row, first + 4, result->latents, 32);
    bytes(row, first + 6, result->pixels, 32);
}

bool store_tasks(struct store *self, int64_t job, uint64_t first, uint64_t limit,
                 void (*take)(void *, const struct task_row *,
                              const struct result_row *result),
                 void *context, struct error *error)
{
    sqlite3_stmt *row = store_prepared(
        self, READ_TASKS,
        "SELECT position, task.state, task.result, reason, " RESULT_COLUMNS
        " FROM task LEFT JOIN result ON result.number = task.result" RESULT_PROVENANCE
        "WHERE job = ? AND position >= ? ORDER BY position LIMIT ?",
        error);
    if (!row)
        return false;
    sqlite3_bind_int64(row, 1, job);
    sqlite3_bind_int64(row, 2, (int64_t)first);
    sqlite3_bind_int64(row, 3, (int64_t)limit);
    int status;
    while ((status = sqlite3_step(row)) == SQLITE_ROW) {
        struct task_row task = {
            .job = job,
            .index = count(row, 0),
            .state = (int)integer(row, 1),
            .result = integer(row, 2),
            .reason = text(row, 3),
        };
        struct result_row result;
        result_of(row, 4, &result);
        take(context, &task, task.result ? &result : NULL);
    }
    return finish(self, row, status, error);
}

bool store_task_states(struct store *self, int64_t job,
                       void (*take)(void *, uint64_t index, int state), void *context,
                       struct error *error)
{
    sqlite3_stmt *row =
        store_prepared(self, READ_TASK_STATES,
                       "SELECT position, state FROM task WHERE job = ?", error);
    if (!row)
        return false;
    sqlite3_bind_int64(row, 1, job);
    int status;
    while ((status = sqlite3_step(row)) == SQLITE_ROW)
        take(context, count(row, 0), (int)integer(row, 1));
    return finish(self, row, status, error);
}

bool store_result(struct store *self, const uint8_t key[32], bool latents,
                  struct result_row *into, struct error *error)
{
    sqlite3_stmt *row = store_prepared(
        self, READ_RESULT,
        "SELECT " RESULT_COLUMNS " FROM result" RESULT_PROVENANCE
        "WHERE key = ? AND superseded = 0 "
        "AND (?2 = 0 OR latents IS NOT NULL) ORDER BY number DESC LIMIT 1",
        error);
    if (!row)
        return false;
    sqlite3_bind_blob(row, 1, key, 32, SQLITE_STATIC);
    sqlite3_bind_int(row, 2, latents);
    int status = sqlite3_step(row);
    bool found = status == SQLITE_ROW;
    if (found) {
        result_of(row, 0, into);
        result_row_own(into);
    } else if (status == SQLITE_DONE) {
        error_set_kind(error, ERROR_NOT_FOUND, "no result has this task key");
    } else {
        store_failed(self, "reading a result", error);
    }
    sqlite3_reset(row);
    return found;
}

bool store_read_begin(struct store *self, struct error *error)
{
    return store_run(self, "BEGIN", error);
}

bool store_read_end(struct store *self, struct error *error)
{
    return store_run(self, "COMMIT", error);
}

bool store_last_result(struct store *self, int64_t *number, struct error *error)
{
    sqlite3_stmt *row = store_prepared(
        self, READ_LAST_RESULT, "SELECT coalesce(max(number), 0) FROM result", error);
    bool ok = row && (sqlite3_step(row) == SQLITE_ROW ||
                      store_failed(self, "counting results", error));
    if (ok)
        *number = integer(row, 0);
    sqlite3_reset(row);
    return ok;
}

bool store_specification(struct store *self, int64_t job, struct buffer *into,
                         struct error *error)
{
    sqlite3_stmt *row =
        store_prepared(self, READ_SPECIFICATION,
                       "SELECT specification FROM job WHERE number = ?", error);
    if (!row)
        return false;
    sqlite3_bind_int64(row, 1, job);
    int status = sqlite3_step(row);
    bool ok = status == SQLITE_ROW;
    if (ok)
        ok = buffer_append(into, sqlite3_column_blob(row, 0),
                           (size_t)sqlite3_column_bytes(row, 0), error);
    else
        store_failed(self, "reading a job", error);
    sqlite3_reset(row);
    return ok;
}

bool store_has_blob(struct store *self, const uint8_t id[32])
{
    sqlite3_stmt *row =
        store_prepared(self, READ_BLOB, "SELECT 1 FROM blob WHERE id = ?", NULL);
    if (!row)
        return true;
    sqlite3_bind_blob(row, 1, id, 32, SQLITE_STATIC);
    int status = sqlite3_step(row);
    sqlite3_reset(row);
    return status != SQLITE_DONE;
}
