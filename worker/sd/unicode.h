/* Unicode as Hugging Face's tokenizers see it: which normal form, which lower case, what is
 * a letter, a number, white space.
 */
#ifndef FARM_UNICODE_H
#define FARM_UNICODE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum unicode_class { UNICODE_OTHER, UNICODE_LETTER, UNICODE_NUMBER, UNICODE_SPACE };

/* Normalizers and regular expressions of that program disagree about the newest
 * characters; this is what the expressions say. */
enum unicode_class unicode_class(int32_t point);

/* Bytes of white space at the start of `size` bytes of UTF-8, as Python's \s has it. */
size_t unicode_spaces(const char *text, size_t size);

/* Whether a letter, number or underscore (\w) begins the bytes, or ends before byte `at` of
 * text: between it and its opposite is a word's end (\b). */
bool unicode_word_at(const char *text, size_t size);
bool unicode_word_before(const char *text, size_t at);

/* UTF-8 in normal form C and in lower case, as code points on the heap. ERROR_INPUT where
 * the bytes are no UTF-8. */
bool unicode_normalize(const char *text, size_t size, int32_t **points, size_t *count,
                       struct error *error);

#endif
