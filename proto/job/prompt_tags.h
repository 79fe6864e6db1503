/* Tags in prompts: `<lora:NAME>`, `<lora:NAME:WEIGHT>`, as A1111 has them. They are no text:
 * they say which files to render with, and are cut out. */
#ifndef FARM_PROMPT_TAGS_H
#define FARM_PROMPT_TAGS_H

#include <stddef.h>

#include "base/error.h"

struct prompt_tag {
    const char *start, *end; /* in the prompt: "<" and behind ">" */
    const char *name;        /* borrowed from it */
    size_t name_size;
    double weight; /* 1 where none is said */
};

/* The first tag of `size` bytes from text on; start is NULL where there is none.
 * ERROR_INPUT for a name or weight that is none, and for other kinds of tags A1111 knows
 * (hypernetworks). What is no `<word:...>` is text. */
bool prompt_tag_next(const char *text, size_t size, struct prompt_tag *tag,
                     struct error *error);

/* The prompt without its tags, which prompt_tag_next has accepted; heap, the caller's. */
char *prompt_tags_cut(const char *prompt);

#endif
