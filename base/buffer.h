/* Bytes that grow, up to a limit set by whoever lets them grow. */
#ifndef FARM_BUFFER_H
#define FARM_BUFFER_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
    size_t limit; /* 0: none */
};

/* All zeros is an empty buffer without a limit. */
void buffer_clear(struct buffer *self);

/* Makes room for `more` bytes behind the last one; data + size is where they go and the
 * caller adds what it used to size. NULL when the limit or memory would be passed. */
uint8_t *buffer_room(struct buffer *self, size_t more, struct error *error);

bool buffer_append(struct buffer *self, const void *data, size_t size,
                   struct error *error);

/* Appends formatted text; data stays zero-terminated, the zero is not counted in size. */
bool buffer_printf(struct buffer *self, struct error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The bytes as a C string ("" when nothing was ever appended), owned by the buffer. A
 * zero is put behind them; they must come from buffer_printf or buffer_append. */
const char *buffer_text(struct buffer *self);

#endif
