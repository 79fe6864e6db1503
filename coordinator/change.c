/* The bytes of a change: for each row its kind, its number of values, the values; a value
 * is its type and eight bytes, or its type, its size and so many bytes. They never leave
 * the process, so they are in its own byte order and are not checked again. */
#include "coordinator/change.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static void put(struct change *self, const void *data, size_t size)
{
    if (!buffer_append(&self->rows, data, size, NULL))
        abort();
}

static void put_byte(struct change *self, int byte)
{
    uint8_t value = (uint8_t)byte;
    put(self, &value, 1);
}

static void put_sized(struct change *self, int type, const void *data, size_t size)
{
    put_byte(self, type);
    put(self, &size, sizeof size);
    put(self, data, size);
}

/* One letter a value: i int64_t, d double, k 32 bytes, j 16 bytes, b bytes and size, t
 * text, n nothing (no argument). */
static void row(struct change *self, enum change_kind kind, const char *types, ...)
{
    va_list values;
    va_start(values, types);
    put_byte(self, (int)kind);
    put_byte(self, (int)strlen(types));
    for (const char *type = types; *type; type++) {
        const void *data = NULL;
        int64_t integer;
        double real;
        switch (*type) {
        case 'i':
            integer = va_arg(values, int64_t);
            put_byte(self, CHANGE_INTEGER);
            put(self, &integer, sizeof integer);
            break;
        case 'd':
            real = va_arg(values, double);
            put_byte(self, CHANGE_REAL);
            put(self, &real, sizeof real);
            break;
        case 'b':
            data = va_arg(values, const void *);
            put_sized(self, CHANGE_BLOB, data, va_arg(values, size_t));
            break;
        case 't':
            data = va_arg(values, const char *);
            put_sized(self, CHANGE_TEXT, data, strlen(data));
            break;
        case 'n':
            put_byte(self, CHANGE_NULL);
            break;
        default: /* k, j */
            data = va_arg(values, const void *);
            put_sized(self, CHANGE_BLOB, data, *type == 'k' ? 32 : 16);
        }
    }
    va_end(values);
}

struct change *change_new(void)
{
    struct change *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->sync = -1;
    return self;
}

void change_destroy(struct change **self)
{
    if (!*self)
        return;
    buffer_clear(&(*self)->rows);
    free(*self);
    *self = NULL;
}

bool change_is_empty(const struct change *self)
{
    return self->rows.size == 0;
}

void change_key(struct change *self, const struct key_row *key)
{
    row(self, CHANGE_KEY, "kitiii", key->public_key, (int64_t)key->role, key->name,
        key->created, key->revoked, (int64_t)key->greeted);
}

void change_token(struct change *self, const struct token_row *token)
{
    row(self, CHANGE_TOKEN, token->used ? "kitiik" : "kitiin", token->join_key,
        (int64_t)token->role, token->name, token->created, token->expires,
        token->used_by);
}

void change_token_dead(struct change *self, const uint8_t join_key[32])
{
    row(self, CHANGE_TOKEN_DEAD, "k", join_key);
}

void change_synced_blob(struct change *self, const uint8_t id[32], uint64_t size)
{
    row(self, CHANGE_BLOB_HERE, "ki", id, (int64_t)size);
}

void change_blob(struct change *self, const uint8_t id[32], uint64_t size)
{
    change_synced_blob(self, id, size);
    self->blobs = true;
}

void change_model(struct change *self, const struct model_row *model)
{
    row(self, CHANGE_MODEL, "ktbii", model->id, model->name, model->manifest,
        model->manifest_size, (int64_t)model->complete, model->added);
}

void change_job(struct change *self, const struct job_row *job)
{
    row(self, CHANGE_JOB, "ijkkbiiii", job->number, job->id, job->submitter,
        job->content, job->specification, job->specification_size,
        (int64_t)job->latents, (int64_t)job->tasks, job->created,
        (int64_t)job->priority);
}

void change_job_kind(struct change *self, int64_t number, const char *device_kind)
{
    row(self, CHANGE_JOB_KIND, "it", number, device_kind);
}

void change_job_cursor(struct change *self, int64_t number, uint64_t cursor)
{
    row(self, CHANGE_JOB_CURSOR, "ii", number, (int64_t)cursor);
}

void change_job_ended(struct change *self, const struct job_row *job)
{
    row(self, CHANGE_JOB_ENDED, "iiiiiii", job->number, (int64_t)job->cursor,
        (int64_t)job->state, (int64_t)job->done, (int64_t)job->failed,
        (int64_t)job->canceled, job->ended);
}

void change_job_steered(struct change *self, const struct job_row *job)
{
    row(self, CHANGE_JOB_STEERED, "iii", job->number, (int64_t)job->priority,
        (int64_t)job->paused);
}

void change_job_retried(struct change *self, int64_t number)
{
    row(self, CHANGE_TASKS_RETRIED, "i", number);
    row(self, CHANGE_FAULTS_FORGIVEN, "i", number);
    row(self, CHANGE_JOB_REOPENED, "i", number);
}

void change_job_gone(struct change *self, int64_t number)
{
    row(self, CHANGE_GONE_RESULTS, "i", number);
    row(self, CHANGE_GONE_ATTEMPTS, "i", number);
    row(self, CHANGE_GONE_TASKS, "i", number);
    row(self, CHANGE_GONE_PROVENANCE, "");
    row(self, CHANGE_GONE_RESULT, "");
    row(self, CHANGE_GONE_MARKS, "");
    row(self, CHANGE_GONE_JOB, "i", number);
}

void change_result(struct change *self, const struct result_row *result)
{
    /* Latents come last in the row, so that they can be left out. */
    row(self, CHANGE_RESULT, result->has_latents ? "ikkikditiik" : "ikkikditiin",
        result->number, result->key, result->png, (int64_t)result->png_size,
        result->pixels, result->seconds, (int64_t)result->step_pixels, result->node,
        (int64_t)result->superseded, (int64_t)result->latents_size, result->latents);
    if (result->provenance[0])
        row(self, CHANGE_PROVENANCE, "it", result->number, result->provenance);
}

void result_row_own(struct result_row *self)
{
    self->node = strdup(self->node);
    self->provenance = strdup(self->provenance);
    if (!self->node || !self->provenance)
        abort();
}

void result_row_clear(struct result_row *self)
{
    free((char *)(uintptr_t)self->node);
    free((char *)(uintptr_t)self->provenance);
    self->node = self->provenance = NULL;
}

void change_task(struct change *self, const struct task_row *task)
{
    if (task->result)
        row(self, CHANGE_TASK, "iiiit", task->job, (int64_t)task->index,
            (int64_t)task->state, task->result, task->reason);
    else
        row(self, CHANGE_TASK, "iiint", task->job, (int64_t)task->index,
            (int64_t)task->state, task->reason);
}

void change_attempt(struct change *self, const struct attempt_row *attempt)
{
    row(self, CHANGE_ATTEMPT, "iiiikkiti", (int64_t)attempt->epoch,
        (int64_t)attempt->counter, attempt->job, (int64_t)attempt->index, attempt->key,
        attempt->worker, (int64_t)attempt->device, attempt->node, attempt->started);
}

void change_attempt_moved(struct change *self, const struct attempt_row *attempt)
{
    row(self, CHANGE_ATTEMPT_MOVED, "iiii", (int64_t)attempt->epoch,
        (int64_t)attempt->counter, attempt->job, (int64_t)attempt->index);
}

void change_attempt_ended(struct change *self, uint64_t epoch, uint64_t counter,
                          const char *ended, bool fault)
{
    row(self, CHANGE_ATTEMPT_ENDED, "iiti", (int64_t)epoch, (int64_t)counter, ended,
        (int64_t)fault);
}

void change_node(struct change *self, const struct node_row *node)
{
    row(self, CHANGE_NODE, "kiit", node->worker, (int64_t)node->device,
        (int64_t)node->state, node->reason);
}

void change_speed(struct change *self, const struct speed_row *speed)
{
    row(self, CHANGE_SPEED, "kikiidi", speed->worker, (int64_t)speed->device,
        speed->model, (int64_t)speed->size_class, (int64_t)speed->batch,
        speed->step_pixels_per_s, (int64_t)speed->images);
}

void change_usage(struct change *self, const struct usage_row *usage)
{
    row(self, CHANGE_USAGE, "kdi", usage->submitter, usage->step_pixels, usage->at);
}

void change_tuning(struct change *self, const struct tuning_row *tuning)
{
    row(self, CHANGE_TUNING, "tjttdit", tuning->kind, tuning->identity, tuning->shape,
        tuning->variant, tuning->gain, tuning->at, tuning->node);
}

void change_tuning_old(struct change *self, uint32_t kept)
{
    row(self, CHANGE_TUNING_OLD, "i", (int64_t)kept);
}

void change_checkpoint(struct change *self, const struct checkpoint_row *checkpoint)
{
    row(self, CHANGE_CHECKPOINT, "kikiiiit", checkpoint->key, checkpoint->job,
        checkpoint->blob, (int64_t)checkpoint->size, (int64_t)checkpoint->step,
        (int64_t)checkpoint->epoch, (int64_t)checkpoint->counter, checkpoint->kind);
}

void change_checkpoint_gone(struct change *self, const uint8_t key[32])
{
    row(self, CHANGE_CHECKPOINT_GONE, "k", key);
}
