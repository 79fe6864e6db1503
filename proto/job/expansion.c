/* How tasks lie in a job
 *
 *   index = ((axis 0, axis 1, ...), variant, seed)     mixed radix, seeds fastest
 *
 * A variant is one alternative of one prompt; prompts with more alternatives have more
 * variants, so that variants are counted prompt by prompt. An axis over `prompt` or `seed`
 * takes the place of the prompts or seeds, whose radix is then 1; its values are taken as
 * they stand, braces included.
 */
#include "proto/job/expansion.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "proto/job/alternatives.h"

struct expansion {
    const Farm__Job *job;
    struct task base, task;
    uint64_t seeds;  /* 0: an axis takes their place */
    uint64_t *until; /* variants of the prompts up to and with each */
    uint64_t made;   /* the task's index without its seed's digit; UINT64_MAX: none */
};

static bool count_variants(struct expansion *self, struct error *error)
{
    uint64_t until = 0;
    for (size_t i = 0; i < self->job->n_prompts; i++) {
        uint64_t count;
        ProtobufCBinaryData prompt = self->job->prompts[i];
        if (!alternatives_count((const char *)prompt.data, prompt.len, JOB_TASKS_MOST,
                                &count, error))
            return false;
        self->until[i] = until += count;
    }
    return true;
}

struct expansion *expansion_new(const Farm__Job *job, struct error *error)
{
    struct expansion *self = calloc(1, sizeof *self);
    uint64_t *until = calloc(job->n_prompts + 1, sizeof *until);
    if (!self || !until)
        abort();
    *self = (struct expansion){.job = job, .until = until, .made = UINT64_MAX};
    for (size_t i = 0; i < job->n_seeds; i++)
        self->seeds += job->seeds[i]->count;
    task_init(&self->base);
    bool ok = count_variants(self, error);
    for (size_t i = 0; ok && i < job->n_settings; i++)
        ok = task_set_bytes(&self->base, job->settings[i]->name,
                            job->settings[i]->value, error);
    if (!ok)
        expansion_destroy(&self);
    return self;
}

void expansion_destroy(struct expansion **self)
{
    if (!*self)
        return;
    task_clear(&(*self)->base);
    task_clear(&(*self)->task);
    free((*self)->until);
    free(*self);
    *self = NULL;
}

/* Takes the digit of base `radix` off the index; 0 is a dimension that is not there. */
static uint64_t take(uint64_t *index, uint64_t radix)
{
    if (!radix)
        return 0;
    uint64_t digit = *index % radix;
    *index /= radix;
    return digit;
}

static uint64_t variants(const struct expansion *self)
{
    return self->job->n_prompts ? self->until[self->job->n_prompts - 1] : 0;
}

static bool set_variant(const struct expansion *self, uint64_t variant,
                        struct task *into, struct error *error)
{
    size_t low = 0, high = self->job->n_prompts - 1;
    while (low < high) { /* the first prompt that ends beyond the variant */
        size_t middle = low + (high - low) / 2;
        if (self->until[middle] > variant)
            high = middle;
        else
            low = middle + 1;
    }
    uint64_t before = low ? self->until[low - 1] : 0;
    ProtobufCBinaryData prompt = self->job->prompts[low];
    struct buffer text = {0};
    bool ok = alternatives_pick((const char *)prompt.data, prompt.len, variant - before,
                                self->until[low] - before, &text, error) &&
              task_set(into, "prompt", buffer_text(&text), error);
    buffer_clear(&text);
    return ok;
}

/* All of the task but its seed. */
static bool make(struct expansion *self, uint64_t index, struct error *error)
{
    const Farm__Job *job = self->job;
    bool ok = true;
    uint64_t rest = index;
    take(&rest, self->seeds);
    uint64_t variant = take(&rest, variants(self));
    task_clear(&self->task);
    task_copy(&self->task, &self->base);
    for (size_t i = job->n_axes; ok && i-- > 0;) {
        const Farm__Axis *axis = job->axes[i];
        ok = task_set_bytes(&self->task, axis->name,
                            axis->values[take(&rest, axis->n_values)], error);
    }
    if (ok && rest)
        return error_set_kind(error, ERROR_NOT_FOUND, "the job has no task %" PRIu64,
                              index);
    return ok && (!job->n_prompts || set_variant(self, variant, &self->task, error));
}

struct task *expansion_task(struct expansion *self, uint64_t index, struct error *error)
{
    uint64_t rest = index, seed = take(&rest, self->seeds);
    if (self->made != rest) {
        self->made = UINT64_MAX;
        if (!make(self, index, error))
            return NULL;
        self->made = rest;
    }
    for (size_t i = 0; i < self->job->n_seeds; i++) {
        if (seed < self->job->seeds[i]->count) {
            self->task.seed = self->job->seeds[i]->first + seed;
            break;
        }
        seed -= self->job->seeds[i]->count;
    }
    return &self->task;
}

uint64_t expansion_axes(const struct expansion *self, uint64_t index)
{
    take(&index, self->seeds);
    take(&index, variants(self));
    return index;
}

bool job_expand(const Farm__Job *self, uint64_t index, struct task *into,
                struct error *error)
{
    struct expansion *expansion = expansion_new(self, error);
    struct task *task = expansion ? expansion_task(expansion, index, error) : NULL;
    *into = (struct task){0};
    if (task) {
        *into = *task;
        *task = (struct task){0};
    }
    expansion_destroy(&expansion);
    return task != NULL;
}
