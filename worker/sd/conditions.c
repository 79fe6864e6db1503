#include "worker/sd/conditions.h"

#include <stdlib.h>
#include <string.h>

#include "worker/sd/prompt.h"

enum { ROWS_MOST = 256 };

static size_t state_at(const struct conditions_row *row, size_t call)
{
    for (size_t i = 0; i < row->states; i++)
        if (call <= row->end[i])
            return i;
    return 0;
}

/* All states of a part: as many chunks each as the longest of them fills. */
static bool encode_states(struct conditions *self, struct conditions_row *row,
                          const struct prompt_schedule *schedule,
                          const struct conditions_options *options, struct error *error)
{
    size_t chunks = 1, filled;
    row->end = calloc(schedule->count, sizeof *row->end);
    row->state = calloc(schedule->count, sizeof *row->state);
    if (!row->end || !row->state)
        return error_set_kind(error, ERROR_MEMORY, "no memory for prompts");
    for (size_t i = 0; i < schedule->count; i++) {
        if (!conditioning_chunks(self->owner, schedule->state[i].text, &options->form,
                                 &filled, error))
            return false;
        chunks = filled > chunks ? filled : chunks;
    }
    for (size_t i = 0; i < schedule->count; i++) {
        const struct condition *state = conditioning_take(
            self->owner, schedule->state[i].text, &options->form, chunks, error);
        if (!state)
            return false;
        row->end[i] = schedule->state[i].end;
        row->state[i] = state;
        row->states++;
        row->keys = state->keys;
        self->truncated[row->image] = self->truncated[row->image] || state->truncated;
    }
    return true;
}

static struct conditions_row *add_row(struct conditions *self, size_t image,
                                      struct error *error)
{
    if (self->count == ROWS_MOST) {
        error_set_kind(error, ERROR_MEMORY,
                       "the batch's prompts have more than %d parts", ROWS_MOST);
        return NULL;
    }
    struct conditions_row *row = &self->row[self->count++];
    *row = (struct conditions_row){.image = image, .weight = 1};
    return row;
}

static bool add_prompt(struct conditions *self, size_t image,
                       const struct prompt *prompt,
                       const struct conditions_options *options, struct error *error)
{
    size_t first = self->count, keys = 0;
    for (size_t i = 0; i < prompt->count; i++) {
        struct conditions_row *row = add_row(self, image, error);
        if (!row ||
            !encode_states(self, row, &prompt->part[i].schedule, options, error))
            return false;
        row->weight = prompt->part[i].weight;
        keys = row->keys > keys ? row->keys : keys;
    }
    /* as A1111 does, by repeating each part's last vector */
    for (size_t i = first; i < self->count; i++)
        self->row[i].keys = keys;
    return true;
}

static bool encode_negative(struct conditions *self, struct conditions_row *row,
                            const char *text, const struct conditions_options *options,
                            struct error *error)
{
    struct prompt prompt;
    if (!text)
        return true;
    if (!prompt_read(&prompt, text, options->form.syntax, false, options->before,
                     options->calls, error))
        return false;
    bool ok = encode_states(self, row, &prompt.part[0].schedule, options, error);
    prompt_clear(&prompt);
    return ok;
}

/* A prompt of several parts, or of a weight, means something only beside the negative one. */
static bool read_prompts(struct conditions *self, const struct conditions_image *images,
                         size_t count, const struct conditions_options *options,
                         struct prompt *prompts, struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (!prompt_read(&prompts[i], images[i].prompt, options->form.syntax, true,
                         options->before, options->calls, error))
            return error_prefix(error, "prompt");
        if (prompts[i].count > 1 || prompts[i].part[0].weight != 1)
            self->composes = true;
    }
    self->guided = options->guided || self->composes;
    return true;
}

bool conditions_make(struct conditions *self, struct conditioning *owner, size_t c,
                     size_t tokens, const struct conditions_image *images, size_t count,
                     const struct conditions_options *options, struct error *error)
{
    *self = (struct conditions){.owner = owner, .c = c};
    struct prompt *prompts = calloc(count, sizeof *prompts);
    self->row = calloc(ROWS_MOST, sizeof *self->row);
    self->truncated = calloc(count, sizeof *self->truncated);
    bool ok = prompts && self->row && self->truncated;
    if (!ok)
        error_set_kind(error, ERROR_MEMORY, "no memory for prompts");
    ok = ok && read_prompts(self, images, count, options, prompts, error);
    for (size_t i = 0; ok && self->guided && i < count; i++) {
        struct conditions_row *row = add_row(self, i, error);
        ok = row != NULL;
        if (row)
            row->keys = tokens;
    }
    for (size_t i = 0; ok && i < count; i++)
        ok = add_prompt(self, i, &prompts[i], options, error) ||
             error_prefix(error, "prompt");
    for (size_t i = 0; ok && self->guided && i < count; i++)
        ok = encode_negative(self, &self->row[i], images[i].negative, options, error) ||
             error_prefix(error, "negative prompt");
    for (size_t i = 0; ok && i < self->count; i++)
        self->keys = self->row[i].keys > self->keys ? self->row[i].keys : self->keys;
    for (size_t i = 0; prompts && i < count; i++)
        prompt_clear(&prompts[i]);
    free(prompts);
    if (!ok)
        conditions_clear(self);
    return ok;
}

bool conditions_none(struct conditions *self, size_t count, struct error *error)
{
    *self = (struct conditions){.count = count};
    self->row = calloc(count, sizeof *self->row);
    self->truncated = calloc(count, sizeof *self->truncated);
    if (!self->row || !self->truncated) {
        conditions_clear(self);
        return error_set_kind(error, ERROR_MEMORY, "no memory for %zu images", count);
    }
    for (size_t i = 0; i < count; i++)
        self->row[i] = (struct conditions_row){.image = i, .weight = 1};
    return true;
}

void conditions_clear(struct conditions *self)
{
    for (size_t i = 0; self->row && i < self->count; i++) {
        struct conditions_row *row = &self->row[i];
        for (size_t s = 0; s < row->states; s++)
            conditioning_give(self->owner, &row->state[s]);
        free(row->end);
        free(row->state);
    }
    free(self->row);
    free(self->truncated);
    *self = (struct conditions){0};
}

bool conditions_change(const struct conditions *self, size_t call)
{
    for (size_t i = 0; call > 0 && i < self->count; i++) {
        const struct conditions_row *row = &self->row[i];
        if (row->states &&
            row->state[state_at(row, call)] != row->state[state_at(row, call - 1)])
            return true;
    }
    return call == 0;
}

void conditions_write(const struct conditions *self, size_t call, float *context)
{
    memset(context, 0, self->count * self->keys * self->c * sizeof *context);
    for (size_t i = 0; i < self->count; i++) {
        const struct conditions_row *row = &self->row[i];
        if (!row->states)
            continue;
        const struct condition *state = row->state[state_at(row, call)];
        float *into = context + i * self->keys * self->c;
        for (size_t key = 0; key < row->keys; key++) {
            size_t from = key < state->keys ? key : state->keys - 1;
            memcpy(into + key * self->c, state->values + from * self->c,
                   self->c * sizeof *into);
        }
    }
}

const float *conditions_pooled(const struct conditions *self, size_t row, size_t call)
{
    const struct conditions_row *at = &self->row[row];
    return at->states ? at->state[state_at(at, call)]->pooled : NULL;
}
