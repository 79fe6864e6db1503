#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool error_set(struct error *self, const char *format, ...)
{
    if (!self)
        return false;
    va_list arguments;
    va_start(arguments, format);
    self->kind = ERROR_FAILED;
    vsnprintf(self->text, sizeof self->text, format, arguments);
    va_end(arguments);
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
    return false;
}
