/* The kinds of options' values; options.c's own header. A setter takes text into a field of
 * struct task, or leaves it as it was and says why; a getter gives the text back, heap.
 */
#ifndef FARM_OPTION_KINDS_H
#define FARM_OPTION_KINDS_H

#include "proto/job/options.h"

#define SEED_MOST 18446744073709551615.0 /* of any count: 2^64 - 1, rounded */

/* Heap; ends the process without memory. */
char *option_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The first `size` bytes; likewise. */
char *option_copy(const char *text, size_t size);

/* Frees the field's text and takes over `text`. */
void option_replace(char **field, char *text);

/* A whole number of decimal digits and nothing else. */
bool option_digits(const char *text, const char *end, uint64_t *value);

bool option_set_number(const struct option *option, void *field, const char *value,
                       struct error *error);
char *option_get_number(const struct option *option, const void *field);

bool option_set_choice(const struct option *option, void *field, const char *value,
                       struct error *error);
bool option_set_sampler(const struct option *option, void *field, const char *value,
                        struct error *error);

bool option_set_size(const struct option *option, void *field, const char *value,
                     struct error *error);
char *option_get_size(const struct option *option, const void *field);

bool option_set_hires(const struct option *option, void *field, const char *value,
                      struct error *error);
char *option_get_hires(const struct option *option, const void *field);

bool option_set_variation(const struct option *option, void *field, const char *value,
                          struct error *error);
char *option_get_variation(const struct option *option, const void *field);

#endif
