#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Length of the UTF-8 character at `at`; 0 when there is none. Overlong forms and
 * surrogates are let through: this guards terminals and messages, not identity. */
static size_t character(const unsigned char *at)
{
    size_t length = at[0] < 0x80                     ? 1
                    : at[0] >= 0xc2 && at[0] <= 0xdf ? 2
                    : (at[0] & 0xf0) == 0xe0         ? 3
                    : at[0] >= 0xf0 && at[0] <= 0xf4 ? 4
                                                     : 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

/* Values from outside stand in the sentence, cut anywhere: what is not UTF-8 and what
 * would steer a terminal becomes '?'. */
static void tidy(char *text)
{
    for (unsigned char *at = (unsigned char *)text; *at;) {
        size_t length = character(at);
        if (!length || (*at < 0x20 && *at != '\n' && *at != '\t') || *at == 0x7f)
            *at = '?';
        at += length ? length : 1;
    }
}

bool error_set(struct error *self, const char *format, ...)
{
    if (!self)
        return false;
    va_list arguments;
    va_start(arguments, format);
    self->kind = ERROR_FAILED;
    vsnprintf(self->text, sizeof self->text, format, arguments);
    va_end(arguments);
    tidy(self->text);
    return false;
}

bool error_set_kind(struct error *self, enum error_kind kind, const char *format, ...)
{
    if (!self)
        return false;
    va_list arguments;
    va_start(arguments, format);
    self->kind = kind;
    vsnprintf(self->text, sizeof self->text, format, arguments);
    va_end(arguments);
    tidy(self->text);
    return false;
}

bool error_prefix(struct error *self, const char *format, ...)
{
    if (!self)
        return false;
    char whole[sizeof self->text];
    va_list arguments;
    va_start(arguments, format);
    int used = vsnprintf(whole, sizeof whole, format, arguments);
    va_end(arguments);
    if (used < 0 || (size_t)used >= sizeof whole)
        used = sizeof whole - 1;
    size_t room = sizeof whole - (size_t)used;
    snprintf(whole + used, room, ": %.*s", (int)room, self->text);
    memcpy(self->text, whole, sizeof whole);
    tidy(self->text);
    return false;
}
