#include "proto/job/job.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { SEEDS_RANDOM_MOST = 10000 };

static bool append(Farm__SeedRange ***ranges, size_t *count, uint64_t first,
                   uint64_t number)
{
    Farm__SeedRange *range = malloc(sizeof *range);
    Farm__SeedRange **grown = realloc(*ranges, (*count + 1) * sizeof *grown);
    if (!range || !grown)
        abort();
    farm__seed_range__init(range);
    range->first = first;
    range->count = number;
    *ranges = grown;
    grown[(*count)++] = range;
    return true;
}

/* 32 bits: all that torch's generator makes of a seed. */
static bool append_random(Farm__SeedRange ***ranges, size_t *count, uint64_t number,
                          struct error *error)
{
    for (uint64_t i = 0; i < number; i++) {
        uint32_t seed;
        if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
            return error_set(error, "seed: the system gives no random numbers");
        append(ranges, count, seed, 1);
    }
    return true;
}

static bool number(const char **at, uint64_t *value)
{
    const char *start = *at;
    for (*value = 0; **at >= '0' && **at <= '9'; ++*at)
        if (__builtin_mul_overflow(*value, 10, value) ||
            __builtin_add_overflow(*value, (uint64_t)(**at - '0'), value))
            return false;
    return *at > start;
}

static bool seeds_part(const char *part, Farm__SeedRange ***ranges, size_t *count,
                       struct error *error)
{
    uint64_t first, last;
    const char *at = part;
    if (!strcmp(part, "-1"))
        return append_random(ranges, count, 1, error);
    if (!strncmp(part, "random:", 7)) {
        at = part + 7;
        if (number(&at, &first) && !*at && first >= 1 && first <= SEEDS_RANDOM_MOST)
            return append_random(ranges, count, first, error);
        return error_set_kind(error, ERROR_INPUT,
                              "seed: \"%.40s\": after random: stands a number from 1 "
                              "to %d",
                              part, SEEDS_RANDOM_MOST);
    }
    if (number(&at, &first) && !*at)
        return append(ranges, count, first, 1);
    if (at == part || strncmp(at, "..", 2) || (at += 2, !number(&at, &last)) || *at)
        return error_set_kind(error, ERROR_INPUT,
                              "seed: \"%.40s\" is no seed; examples: 7  0..15  1,5,9  "
                              "random:8  -1",
                              part);
    if (last < first)
        return error_set_kind(error, ERROR_INPUT,
                              "seed: \"%.40s\" ends before it begins", part);
    if (last - first >= JOB_TASKS_MOST)
        return error_set_kind(
            error, ERROR_INPUT,
            "seed: \"%.40s\" is more than the %d images a job may have", part,
            JOB_TASKS_MOST);
    return append(ranges, count, first, last - first + 1);
}

bool seeds_parse(const char *text, Farm__SeedRange ***ranges, size_t *count,
                 struct error *error)
{
    char *copy = strdup(text), *rest = copy, *part;
    bool ok = copy != NULL;
    while (ok && (part = strsep(&rest, ",")))
        ok = seeds_part(part, ranges, count, error);
    free(copy);
    return ok;
}
