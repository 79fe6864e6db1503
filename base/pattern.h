/* Regular expressions that others wrote (Perl's, by PCRE2), each match bounded in steps and
 * memory: POSIX' in libc have no such bounds.
 */
#ifndef FARM_PATTERN_H
#define FARM_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct pattern;

enum pattern_found { PATTERN_FOUND, PATTERN_CLEAR, PATTERN_UNDECIDED };

/* Steps taken over any number of matches; at `most` they end undecided. Zeros but for `most`
 * to begin with. */
struct pattern_meter {
    uint64_t work, most;
    size_t at; /* the pattern's own */
};

/* What it is matched against is UTF-8, without regard to case, and a point is any character
 * (words); or bytes as they are, from their beginning on (a name). */
enum pattern_of { PATTERN_OF_WORDS, PATTERN_OF_NAMES };

/* ERROR_INPUT says what is wrong at which character. */
struct pattern *pattern_new(const char *text, enum pattern_of of, struct error *error);
void pattern_destroy(struct pattern **self);

/* UNDECIDED: the steps or `heap_kib` of memory did not suffice, or words are no UTF-8. */
enum pattern_found pattern_look(const struct pattern *self, const char *text,
                                size_t size, uint32_t heap_kib,
                                struct pattern_meter *meter);

#endif
