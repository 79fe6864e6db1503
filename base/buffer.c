#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buffer_clear(struct buffer *self)
{
    free(self->data);
    *self = (struct buffer){.limit = self->limit};
}

uint8_t *buffer_room(struct buffer *self, size_t more, struct error *error)
{
    size_t needed;
    /* One byte beyond is always kept for the zero of buffer_text(). */
    if (__builtin_add_overflow(self->size, more, &needed) || needed == SIZE_MAX ||
        (self->limit && needed > self->limit)) {
        error_set_kind(error, ERROR_INPUT, "more than the limit of %zu bytes",
                       self->limit);
        return NULL;
    }
    if (needed + 1 > self->capacity) {
        size_t capacity = self->capacity ? self->capacity : 64;
        while (capacity < needed + 1)
            if (__builtin_mul_overflow(capacity, (size_t)2, &capacity))
                capacity = needed + 1;
        uint8_t *data = realloc(self->data, capacity);
        if (!data) {
            error_set_kind(error, ERROR_MEMORY, "no memory for %zu bytes", capacity);
            return NULL;
        }
        self->data = data;
        self->capacity = capacity;
    }
    return self->data + self->size;
}

bool buffer_append(struct buffer *self, const void *data, size_t size,
                   struct error *error)
{
    uint8_t *room = buffer_room(self, size, error);
    if (!room)
        return false;
    if (size)
        memcpy(room, data, size);
    self->size += size;
    return true;
}

bool buffer_printf(struct buffer *self, struct error *error, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    uint8_t *room = length < 0 ? NULL : buffer_room(self, (size_t)length, error);
    if (room) {
        vsnprintf((char *)room, (size_t)length + 1, format, again);
        self->size += (size_t)length;
    }
    va_end(again);
    return room != NULL;
}

const char *buffer_text(struct buffer *self)
{
    if (!self->data)
        return "";
    self->data[self->size] = 0;
    return (const char *)self->data;
}
