#include "worker/attempts.h"

#include <stdlib.h>
#include <string.h>

#include "proto/wire.h"

static void attempt_destroy(struct attempt *attempt)
{
    task_clear(&attempt->task);
    attempt_start_anew(attempt);
    free(attempt->failed);
    free(attempt);
}

void attempt_start_anew(struct attempt *attempt)
{
    snapshot_clear(&attempt->start.snapshot);
    attempt->start = (struct attempt_start){0};
}

void attempt_copy(struct attempt *into, const struct attempt *from)
{
    *into = *from;
    into->task = (struct task){0};
    task_copy(&into->task, &from->task);
    const struct snapshot *snapshot = &from->start.snapshot;
    if (from->start.state != START_HERE)
        return;
    if (!snapshot_make(&into->start.snapshot, NULL))
        abort();
    memcpy(into->start.snapshot.values, snapshot->values,
           (1 + SNAPSHOT_HISTORY) * snapshot_values(snapshot) *
               sizeof *snapshot->values);
}

void attempt_copy_clear(struct attempt *copy)
{
    task_clear(&copy->task);
    attempt_start_anew(copy);
}

bool attempt_start_from(struct attempt *attempt, const void *data, size_t size,
                        struct error *error)
{
    struct snapshot snapshot;
    uint32_t step = attempt->start.step;
    attempt_start_anew(attempt);
    if (!snapshot_read(&snapshot, data, size, error))
        return false;
    bool fits = memcmp(snapshot.tag, attempt->key, sizeof snapshot.tag) == 0 &&
                snapshot.seed == attempt->task.seed && snapshot.step == step;
    if (!fits) {
        snapshot_clear(&snapshot);
        return error_set_kind(error, ERROR_INPUT,
                              "snapshot: it is of another task, or not of step %u",
                              step);
    }
    attempt->start.state = START_HERE;
    attempt->start.step = step;
    attempt->start.snapshot = snapshot;
    return true;
}

static void copy_start(struct attempt_start *into, const Farm__Checkpoint *from)
{
    bool usable = from && from->blob.len == BLOB_ID && from->step && from->size &&
                  from->size <= WIRE_CHECKPOINT_LIMIT;
    if (!usable)
        return;
    into->state = START_ELSEWHERE;
    memcpy(into->blob, from->blob.data, BLOB_ID);
    into->size = from->size;
    into->step = from->step;
}

void attempts_clear(struct attempts *self)
{
    for (size_t i = 0; i < self->count; i++)
        attempt_destroy(self->item[i]);
    self->count = 0;
}

static bool fields_fit(const Farm__Attempt *from, struct error *error)
{
    bool whole = from->n_inputs <= INPUTS_MOST;
    for (size_t i = 0; whole && i < from->n_inputs; i++)
        whole = from->inputs[i].len == BLOB_ID;
    if (whole && from->id && from->job.len == 16 && from->key.len == 32 &&
        from->model.len == BLOB_ID)
        return true;
    return error_set_kind(error, ERROR_INPUT,
                          "an attempt without a whole id, job, key, model or inputs");
}

bool attempts_add(struct attempts *self, const Farm__Attempt *from, uint32_t at_once,
                  struct error *error)
{
    if (!fields_fit(from, error))
        return false;
    if (attempts_find(self, from->id->epoch, from->id->counter))
        return true;
    if (self->count == ATTEMPTS_MOST)
        return error_set_kind(error, ERROR_BUSY, "%d attempts are held already",
                              ATTEMPTS_MOST);
    struct attempt *attempt = calloc(1, sizeof *attempt);
    if (!attempt)
        return error_set_kind(error, ERROR_MEMORY, "out of memory for an attempt");
    if (!task_unpack(&attempt->task, from->settings, from->n_settings, error)) {
        attempt_destroy(attempt);
        return false;
    }
    attempt->epoch = from->id->epoch;
    attempt->counter = from->id->counter;
    memcpy(attempt->job, from->job.data, sizeof attempt->job);
    attempt->index = from->index;
    memcpy(attempt->key, from->key.data, sizeof attempt->key);
    memcpy(attempt->model, from->model.data, sizeof attempt->model);
    for (; attempt->inputs < from->n_inputs; attempt->inputs++)
        memcpy(attempt->input[attempt->inputs], from->inputs[attempt->inputs].data,
               BLOB_ID);
    attempt->latents = from->latents;
    attempt->at_once = at_once;
    attempt->checkpoint_every = from->checkpoint_every;
    attempt->hand_on = from->hand_on;
    copy_start(&attempt->start, from->checkpoint);
    self->item[self->count++] = attempt;
    return true;
}

void attempts_adopt(struct attempts *self, uint64_t epoch, uint64_t counter)
{
    if (self->count == ATTEMPTS_MOST || attempts_find(self, epoch, counter))
        return;
    struct attempt *attempt = calloc(1, sizeof *attempt);
    if (!attempt)
        return;
    task_init(&attempt->task);
    attempt->epoch = epoch;
    attempt->counter = counter;
    attempt->state = FARM__ATTEMPT_STATE__ATTEMPT_UPLOADING;
    self->item[self->count++] = attempt;
}

struct attempt *attempts_find(const struct attempts *self, uint64_t epoch,
                              uint64_t counter)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->item[i]->epoch == epoch && self->item[i]->counter == counter)
            return self->item[i];
    return NULL;
}

void attempts_remove(struct attempts *self, uint64_t epoch, uint64_t counter)
{
    for (size_t i = 0; i < self->count; i++) {
        struct attempt *attempt = self->item[i];
        if (attempt->epoch != epoch || attempt->counter != counter)
            continue;
        memmove(&self->item[i], &self->item[i + 1],
                (self->count - i - 1) * sizeof *self->item);
        self->count--;
        attempt_destroy(attempt);
        return;
    }
}

/* Asks the table of options, so that one added there counts without a change here. */
static bool may_share_a_batch(const struct task *a, const struct task *b)
{
    static const char *const free_in_a_batch[] = {"negative", "prompt", "seed"};
    bool same = true;
    for (const struct option *option = options; same && option->name; option++) {
        bool is_free = false;
        for (size_t i = 0; i < 3; i++)
            is_free = is_free || strcmp(option->name, free_in_a_batch[i]) == 0;
        if (is_free)
            continue;
        char *left = task_get(a, option), *right = task_get(b, option);
        same = strcmp(left, right) == 0;
        free(left);
        free(right);
    }
    return same;
}

static bool same_inputs(const struct attempt *a, const struct attempt *b)
{
    return a->inputs == b->inputs &&
           memcmp(a->input, b->input, a->inputs * sizeof *a->input) == 0;
}

size_t attempts_batch(const struct attempts *self, const uint8_t model[BLOB_ID],
                      size_t most, struct attempt *batch[BATCH_MOST])
{
    size_t count = 0;
    for (size_t i = 0; i < self->count && count < most && count < BATCH_MOST; i++) {
        struct attempt *attempt = self->item[i];
        if (attempt->state != FARM__ATTEMPT_STATE__ATTEMPT_ASSIGNED ||
            memcmp(attempt->model, model, BLOB_ID) != 0)
            continue;
        if (count && (attempt->alone || batch[0]->alone))
            continue;
        if (!count && attempt->at_once && attempt->at_once < most)
            most = attempt->at_once;
        if (!count ||
            (batch[0]->start.step == attempt->start.step &&
             batch[0]->checkpoint_every == attempt->checkpoint_every &&
             batch[0]->hand_on == attempt->hand_on && same_inputs(batch[0], attempt) &&
             may_share_a_batch(&batch[0]->task, &attempt->task)))
            batch[count++] = attempt;
    }
    return count;
}

void attempt_keep_failure(struct attempt *attempt, const struct error *why)
{
    if (!attempt->failed)
        attempt->failed = malloc(sizeof *attempt->failed);
    if (!attempt->failed)
        abort();
    *attempt->failed = *why;
    attempt->state = FARM__ATTEMPT_STATE__ATTEMPT_UPLOADING;
}

size_t attempts_unrendered(const struct attempts *self)
{
    size_t count = 0;
    for (size_t i = 0; i < self->count; i++)
        count += self->item[i]->state != FARM__ATTEMPT_STATE__ATTEMPT_UPLOADING &&
                 !self->item[i]->withdrawn;
    return count;
}

size_t attempts_in_state(const struct attempts *self, Farm__AttemptState state)
{
    size_t count = 0;
    for (size_t i = 0; i < self->count; i++)
        count += self->item[i]->state == state;
    return count;
}
