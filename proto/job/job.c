#include "proto/job/job.h"

#include <inttypes.h>
#include <string.h>

#include "proto/job/alternatives.h"

enum { AXES_MOST = 16, LABEL_MOST = 100 };

static const struct option *option_named(ProtobufCBinaryData name)
{
    for (const struct option *option = options; option->name; option++)
        if (strlen(option->name) == name.len &&
            !memcmp(option->name, name.data, name.len))
            return option;
    return NULL;
}

static bool has_axis(const Farm__Job *self, const char *name)
{
    for (size_t i = 0; i < self->n_axes; i++)
        if (option_named(self->axes[i]->name) == option_find(name))
            return true;
    return false;
}

static bool too_many(struct error *error)
{
    return error_set_kind(error, ERROR_INPUT, "the job has more than %d tasks",
                          JOB_TASKS_MOST);
}

/* Variants of one prompt. */
static bool prompt_count(ProtobufCBinaryData prompt, uint64_t *count,
                         struct error *error)
{
    return alternatives_count((const char *)prompt.data, prompt.len, JOB_TASKS_MOST,
                              count, error);
}

/* The option a setting or axis is over; each may be named once in a job. */
static const struct option *claim(ProtobufCBinaryData name, bool *used,
                                  struct error *error)
{
    const struct option *option = option_named(name);
    if (!option) {
        error_set_kind(error, ERROR_INPUT,
                       "there is no option \"%.*s\"; `farmctl help render` lists them",
                       name.len < 60 ? (int)name.len : 60, (const char *)name.data);
        return NULL;
    }
    if (used[option - options]) {
        error_set_kind(error, ERROR_INPUT, "%s: is given twice in the job",
                       option->name);
        return NULL;
    }
    used[option - options] = true;
    return option;
}

static bool check_settings(const Farm__Job *self, struct task *scratch, bool *used,
                           struct error *error)
{
    for (size_t i = 0; i < self->n_settings; i++) {
        const Farm__Setting *setting = self->settings[i];
        const struct option *option = claim(setting->name, used, error);
        if (!option)
            return false;
        if (option == option_find("prompt") || option == option_find("seed"))
            return error_set_kind(error, ERROR_INPUT,
                                  "%s: stands among the settings of the job; it has a "
                                  "list of its own",
                                  option->name);
        if (!task_set_bytes(scratch, setting->name, setting->value, error))
            return false;
    }
    return true;
}

static bool check_axes(const Farm__Job *self, struct task *scratch, bool *used,
                       uint64_t *tasks, struct error *error)
{
    if (self->n_axes > AXES_MOST)
        return error_set_kind(error, ERROR_INPUT, "%zu axes, at most %d are taken",
                              self->n_axes, AXES_MOST);
    for (size_t i = 0; i < self->n_axes; i++) {
        const Farm__Axis *axis = self->axes[i];
        const struct option *option = claim(axis->name, used, error);
        if (!option)
            return false;
        if (!axis->n_values)
            return error_set_kind(error, ERROR_INPUT, "axis %s: has no values",
                                  option->name);
        for (size_t j = 0; j < axis->n_values; j++)
            if (!task_set_bytes(scratch, axis->name, axis->values[j], error))
                return error_prefix(error, "axis");
        if (__builtin_mul_overflow(*tasks, axis->n_values, tasks) ||
            *tasks > JOB_TASKS_MOST)
            return too_many(error);
    }
    return true;
}

static bool check_prompts(const Farm__Job *self, struct task *scratch, uint64_t *tasks,
                          struct error *error)
{
    bool replaced = has_axis(self, "prompt");
    if (replaced && self->n_prompts)
        return error_set_kind(error, ERROR_INPUT,
                              "prompt: there are prompts and an axis over them; one of "
                              "the two must go");
    if (!replaced && !self->n_prompts)
        return error_set_kind(error, ERROR_INPUT, "prompt: the job has none");
    uint64_t variants = replaced ? 1 : 0;
    for (size_t i = 0; i < self->n_prompts; i++) {
        uint64_t more;
        ProtobufCBinaryData name = {6, (uint8_t *)"prompt"};
        if (!task_set_bytes(scratch, name, self->prompts[i], error) ||
            !prompt_count(self->prompts[i], &more, error))
            return false;
        variants += more; /* each at most JOB_TASKS_MOST, their number fits a message */
        if (variants > JOB_TASKS_MOST)
            return too_many(error);
    }
    *tasks *= variants;
    return *tasks <= JOB_TASKS_MOST || too_many(error);
}

static bool check_seeds(const Farm__Job *self, uint64_t *tasks, struct error *error)
{
    bool replaced = has_axis(self, "seed");
    if (replaced && self->n_seeds)
        return error_set_kind(error, ERROR_INPUT,
                              "seed: there are seeds and an axis over them; one of the "
                              "two must go");
    if (!replaced && !self->n_seeds)
        return error_set_kind(error, ERROR_INPUT, "seed: the job has none");
    uint64_t seeds = replaced ? 1 : 0;
    for (size_t i = 0; i < self->n_seeds; i++) {
        const Farm__SeedRange *range = self->seeds[i];
        if (!range->count || range->count - 1 > UINT64_MAX - range->first)
            return error_set_kind(error, ERROR_INPUT,
                                  "seed: %" PRIu64 " seeds from %" PRIu64
                                  " on are not a range",
                                  range->count, range->first);
        if (range->count > JOB_TASKS_MOST)
            return too_many(error);
        seeds += range->count;
        if (seeds > JOB_TASKS_MOST)
            return too_many(error);
    }
    *tasks *= seeds;
    return *tasks <= JOB_TASKS_MOST || too_many(error);
}

bool job_check(const Farm__Job *self, uint64_t *tasks, struct error *error)
{
    bool used[OPTION_COUNT_ALL] = {false};
    struct task scratch;
    task_init(&scratch);
    *tasks = 1;
    bool ok = true;
    if (self->expansion > JOB_EXPANSION)
        ok =
            error_set_kind(error, ERROR_INPUT,
                           "the job is in expansion order %u, this farm knows up to %d",
                           self->expansion, JOB_EXPANSION);
    if (self->label.len > LABEL_MOST)
        ok =
            error_set_kind(error, ERROR_INPUT, "label: %zu bytes, at most %d are taken",
                           self->label.len, LABEL_MOST);
    ok = ok && check_settings(self, &scratch, used, error) &&
         check_axes(self, &scratch, used, tasks, error) &&
         check_prompts(self, &scratch, tasks, error) && check_seeds(self, tasks, error);
    task_clear(&scratch);
    return ok;
}
