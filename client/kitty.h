/* Pictures on terminals that know kitty's graphics protocol: one PNG file at a time, in some
 * lines of text. https://sw.kovidgoyal.net/kitty/graphics-protocol */
#ifndef FARM_KITTY_H
#define FARM_KITTY_H

#include <stdbool.h>

#include "base/buffer.h"

/* Whether the terminal says that it is such a one (kitty, Ghostty, WezTerm). */
bool kitty_is_there(void);

/* What puts the PNG file at the cursor, `rows` lines high, in place of the one before, and
 * leaves the cursor where it is. Appends. */
void kitty_put(const void *png, size_t size, unsigned rows, struct buffer *into);

/* What moves that picture to the cursor, and what takes it away. */
void kitty_move(unsigned rows, struct buffer *into);
void kitty_remove(struct buffer *into);

#endif
