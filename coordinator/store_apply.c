#include "coordinator/store_private.h"

#include <stdlib.h>
#include <string.h>

static const char *const statements[CHANGE_KINDS] = {
    [CHANGE_KEY] = "INSERT INTO key VALUES (?, ?, ?, ?, ?, ?) "
                   "ON CONFLICT (public_key) DO UPDATE SET role = ?2, name = ?3, "
                   "revoked = ?5, greeted = ?6",
    [CHANGE_TOKEN] = "INSERT INTO token VALUES (?, ?, ?, ?, ?, ?) "
                     "ON CONFLICT (join_key) DO UPDATE SET used_by = ?6",
    [CHANGE_TOKEN_DEAD] = "DELETE FROM token WHERE join_key = ?",
    [CHANGE_BLOB_HERE] = "INSERT INTO blob VALUES (?, ?) ON CONFLICT DO NOTHING",
    [CHANGE_MODEL] = "INSERT INTO model VALUES (?, ?, ?, ?, ?) "
                     "ON CONFLICT (id) DO UPDATE SET name = ?2, manifest = ?3, "
                     "complete = ?4",
    [CHANGE_JOB] = "INSERT INTO job VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, ?, 0, "
                   "?, 0, '')",
    [CHANGE_JOB_KIND] = "UPDATE job SET device_kind = ?2 WHERE number = ?1",
    [CHANGE_JOB_CURSOR] = "UPDATE job SET cursor = ?2 WHERE number = ?1",
    [CHANGE_JOB_ENDED] = "UPDATE job SET cursor = ?2, state = ?3, done = ?4, "
                         "failed = ?5, canceled = ?6, ended = ?7 WHERE number = ?1",
    [CHANGE_JOB_STEERED] = "UPDATE job SET priority = ?2, paused = ?3 "
                           "WHERE number = ?1",
    [CHANGE_JOB_REOPENED] = "UPDATE job SET state = 0, done = 0, failed = 0, "
                            "canceled = 0, ended = 0 WHERE number = ?",
    /* 4 is QUEUE_FAILED; a fault is 1, one that was forgiven 2. */
    [CHANGE_TASKS_RETRIED] = "DELETE FROM task WHERE job = ? AND state = 4",
    [CHANGE_FAULTS_FORGIVEN] = "UPDATE attempt SET fault = 2 WHERE job = ? AND "
                               "fault = 1",
    [CHANGE_RESULT] =
        "INSERT INTO result (number, key, png, png_size, pixels, seconds, "
        "step_pixels, node, superseded, latents_size, latents) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [CHANGE_PROVENANCE] = "INSERT INTO provenance VALUES (?, ?)",
    [CHANGE_TASK] = "INSERT INTO task VALUES (?, ?, ?, ?, ?) "
                    "ON CONFLICT (job, position) DO UPDATE SET state = ?3, "
                    "result = ?4, reason = ?5",
    [CHANGE_ATTEMPT] = "INSERT INTO attempt VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', 0)",
    [CHANGE_ATTEMPT_MOVED] = "UPDATE attempt SET job = ?3, position = ?4 "
                             "WHERE epoch = ?1 AND counter = ?2",
    [CHANGE_ATTEMPT_ENDED] = "UPDATE attempt SET ended = ?3, fault = ?4 "
                             "WHERE epoch = ?1 AND counter = ?2 AND ended = ''",
    [CHANGE_NODE] = "INSERT INTO node VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (worker, device) DO UPDATE SET state = ?3, "
                    "reason = ?4",
    [CHANGE_SPEED] = "INSERT INTO speed VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT "
                     "(worker, device, model, size_class, batch) DO UPDATE SET "
                     "step_pixels_per_s = ?6, images = ?7",
    [CHANGE_USAGE] = "INSERT INTO usage VALUES (?, ?, ?) ON CONFLICT (submitter) "
                     "DO UPDATE SET step_pixels = ?2, at = ?3",
    [CHANGE_TUNING] = "INSERT OR REPLACE INTO tuning VALUES (?, ?, ?, ?, ?, ?, ?)",
    [CHANGE_TUNING_OLD] =
        "DELETE FROM tuning WHERE (kind, identity, shape) IN (SELECT kind, identity, "
        "shape FROM tuning ORDER BY at DESC LIMIT -1 OFFSET ?)",
    [CHANGE_CHECKPOINT] = "INSERT OR REPLACE INTO checkpoint VALUES "
                          "(?, ?, ?, ?, ?, ?, ?, ?)",
    [CHANGE_CHECKPOINT_GONE] = "DELETE FROM checkpoint WHERE key = ?",
    /* A result that another job's task has stays. */
    [CHANGE_GONE_RESULTS] =
        "INSERT OR IGNORE INTO temp.gone SELECT result FROM task AS own WHERE "
        "job = ?1 AND result IS NOT NULL AND NOT EXISTS (SELECT 1 FROM task WHERE "
        "task.result = own.result AND task.job <> ?1)",
    [CHANGE_GONE_ATTEMPTS] = "DELETE FROM attempt WHERE job = ?",
    [CHANGE_GONE_TASKS] = "DELETE FROM task WHERE job = ?",
    [CHANGE_GONE_PROVENANCE] =
        "DELETE FROM provenance WHERE result IN (SELECT number FROM temp.gone)",
    [CHANGE_GONE_RESULT] =
        "DELETE FROM result WHERE number IN (SELECT number FROM temp.gone)",
    [CHANGE_GONE_MARKS] = "DELETE FROM temp.gone",
    [CHANGE_GONE_JOB] = "DELETE FROM job WHERE number = ?",
};

/* Takes `size` bytes off the rows. */
static const uint8_t *take(const uint8_t **at, size_t size)
{
    const uint8_t *data = *at;
    *at += size;
    return data;
}

static int bind_value(sqlite3_stmt *statement, int position, const uint8_t **at)
{
    int64_t integer;
    double real;
    size_t size;
    enum change_value type = *take(at, 1);
    switch (type) {
    case CHANGE_INTEGER:
        memcpy(&integer, take(at, sizeof integer), sizeof integer);
        return sqlite3_bind_int64(statement, position, integer);
    case CHANGE_REAL:
        memcpy(&real, take(at, sizeof real), sizeof real);
        return sqlite3_bind_double(statement, position, real);
    case CHANGE_BLOB:
        memcpy(&size, take(at, sizeof size), sizeof size);
        return sqlite3_bind_blob64(statement, position, take(at, size), size,
                                   SQLITE_STATIC);
    case CHANGE_TEXT:
        memcpy(&size, take(at, sizeof size), sizeof size);
        return sqlite3_bind_text64(statement, position, (const char *)take(at, size),
                                   size, SQLITE_STATIC, SQLITE_UTF8);
    default:
        return sqlite3_bind_null(statement, position);
    }
}

static bool apply_row(struct store *self, const uint8_t **at, struct error *error)
{
    int kind = *take(at, 1), values = *take(at, 1);
    sqlite3_stmt *statement = store_prepared(self, kind, statements[kind], error);
    if (!statement)
        return false;
    int status = SQLITE_OK;
    for (int v = 1; v <= values && status == SQLITE_OK; v++)
        status = bind_value(statement, v, at);
    if (status == SQLITE_OK)
        status = sqlite3_step(statement);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return status == SQLITE_DONE || store_failed(self, statements[kind], error);
}

bool store_apply(struct store *self, struct change *const *changes, size_t count,
                 struct error *error)
{
    if (!store_run(self, "BEGIN IMMEDIATE", error))
        return false;
    bool ok = true;
    for (size_t c = 0; ok && c < count; c++) {
        const uint8_t *at = changes[c]->rows.data;
        const uint8_t *end = at + changes[c]->rows.size;
        while (ok && at < end)
            ok = apply_row(self, &at, error);
    }
    if (ok)
        return store_run(self, "COMMIT", error);
    store_run(self, "ROLLBACK", NULL);
    return false;
}
