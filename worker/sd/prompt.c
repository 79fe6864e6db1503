#include "worker/sd/prompt.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "worker/sd/unicode.h"

enum { PARTS_MOST = 16 };

static const char and_word[] = "AND";

/* Where the next AND stands that is a word of its own; size where there is none. */
static size_t find_and(const char *text, size_t from, size_t size)
{
    size_t length = strlen(and_word);
    for (size_t at = from; at + length <= size; at++)
        if (memcmp(text + at, and_word, length) == 0 &&
            !unicode_word_before(text, at) &&
            !unicode_word_at(text + at + length, size - at - length))
            return at;
    return size;
}

static size_t trimmed(const char *text, size_t size)
{
    size_t end = 0;
    for (size_t at = 0; at < size;) {
        size_t spaces = unicode_spaces(text + at, size - at);
        at += spaces ? spaces : 1;
        end = spaces ? end : at;
    }
    return end;
}

/* Digits with at most one point, which may be first or last, and a sign before them. */
static bool read_weight(const char *text, size_t size, double *weight)
{
    size_t at = size > 0 && (text[0] == '+' || text[0] == '-');
    size_t whole = strspn(text + at, "0123456789"), fraction = 0;
    at += whole;
    if (at < size && text[at] == '.') {
        at++;
        fraction = strspn(text + at, "0123456789");
        at += fraction;
    }
    if (at != size || whole + fraction == 0)
        return false;
    *weight = strtod(text, NULL);
    return true;
}

/* Cuts ": weight" and white space off the end. */
static size_t part_end(const char *text, size_t size, double *weight)
{
    size_t end = trimmed(text, size), colon = end;
    *weight = 1;
    while (colon > 0 && text[colon - 1] != ':')
        colon--;
    if (colon == 0)
        return end;
    size_t number = colon + unicode_spaces(text + colon, end - colon);
    return read_weight(text + number, end - number, weight) ? trimmed(text, colon - 1)
                                                            : end;
}

static bool add_part(struct prompt *self, const char *text, size_t size, double weight,
                     enum prompt_syntax syntax, size_t before, size_t steps,
                     struct error *error)
{
    struct prompt_part *part = &self->part[self->count];
    if (self->count == PARTS_MOST)
        return error_set_kind(error, ERROR_INPUT, "more than %d parts joined by AND",
                              PARTS_MOST);
    self->count++;
    part->weight = weight;
    return syntax == PROMPT_A1111
               ? prompt_schedule_read(&part->schedule, text, size, before, steps, error)
               : prompt_schedule_constant(&part->schedule, text, size, steps, error);
}

bool prompt_read(struct prompt *self, const char *text, enum prompt_syntax syntax,
                 bool composes, size_t before, size_t steps, struct error *error)
{
    size_t size = strlen(text), at = 0, end;
    double weight = 1;
    bool ok, more;
    *self = (struct prompt){.part = calloc(PARTS_MOST, sizeof *self->part)};
    if (!self->part)
        return error_set_kind(error, ERROR_MEMORY, "no memory for a prompt");
    composes = composes && syntax == PROMPT_A1111;
    do {
        size_t next = composes ? find_and(text, at, size) : size;
        end = composes ? at + part_end(text + at, next - at, &weight) : size;
        ok = add_part(self, text + at, end - at, weight, syntax, before, steps, error);
        more = next < size;
        at = next + strlen(and_word);
    } while (ok && more);
    if (!ok)
        prompt_clear(self);
    return ok;
}

void prompt_clear(struct prompt *self)
{
    for (size_t i = 0; i < self->count; i++)
        prompt_schedule_clear(&self->part[i].schedule);
    free(self->part);
    *self = (struct prompt){0};
}

enum prompt_syntax prompt_syntax_of(const char *name, const char *sampler)
{
    static const char *const names[] = {
        [PROMPT_A1111] = "a1111", [PROMPT_COMFY] = "comfy", [PROMPT_PLAIN] = "plain"};
    for (size_t i = 0; name && i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return (enum prompt_syntax)i;
    if (strstr(sampler, "Scheduler"))
        return PROMPT_PLAIN;
    return *sampler >= 'a' && *sampler <= 'z' ? PROMPT_COMFY : PROMPT_A1111;
}

size_t prompt_calls(const char *sampler, size_t steps)
{
    static const char *const second_order[] = {
        "Heun",       "HeunDiscreteScheduler",
        "DPM2",       "KDPM2DiscreteScheduler",
        "DPM++ SDE",  "DPMSolverSDEScheduler",
        "Restart",    "KDPM2AncestralDiscreteScheduler",
        "DPM++ 2S a",
    };
    for (size_t i = 0; i < sizeof second_order / sizeof *second_order; i++) {
        size_t length = strlen(second_order[i]);
        if (strncasecmp(second_order[i], sampler, length) == 0 &&
            (!sampler[length] || strchr("( ", sampler[length])))
            return 2 * steps;
    }
    return steps;
}
