#include "client/kitty.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
    PICTURE = 7610, /* its number, which others on the same terminal must not have */
    CHUNK = 3072,   /* bytes a sequence may carry: 4096 characters */
};

bool kitty_is_there(void)
{
    static const char *const terminals[] = {"xterm-kitty", "xterm-ghostty", "WezTerm",
                                            "ghostty"};
    const char *names[] = {getenv("TERM"), getenv("TERM_PROGRAM")};
    for (size_t n = 0; n < 2; n++)
        for (size_t t = 0; names[n] && t < sizeof terminals / sizeof *terminals; t++)
            if (strcmp(names[n], terminals[t]) == 0)
                return true;
    return false;
}

void kitty_put(const void *png, size_t size, unsigned rows, struct buffer *into)
{
    char text[sodium_base64_ENCODED_LEN(CHUNK, sodium_base64_VARIANT_ORIGINAL)];
    const uint8_t *at = png;
    for (size_t done = 0, part; done < size; done += part) {
        part = size - done < CHUNK ? size - done : CHUNK;
        sodium_bin2base64(text, sizeof text, at + done, part,
                          sodium_base64_VARIANT_ORIGINAL);
        buffer_printf(into, NULL, "\x1b_G");
        if (!done)
            buffer_printf(into, NULL, "a=T,f=100,q=2,i=%d,p=1,C=1,r=%u,", PICTURE,
                          rows);
        buffer_printf(into, NULL, "m=%d;%s\x1b\\", done + part < size, text);
    }
}

void kitty_move(unsigned rows, struct buffer *into)
{
    buffer_printf(into, NULL, "\x1b_Ga=p,q=2,i=%d,p=1,C=1,r=%u\x1b\\", PICTURE, rows);
}

void kitty_remove(struct buffer *into)
{
    buffer_printf(into, NULL, "\x1b_Ga=d,d=I,q=2,i=%d\x1b\\", PICTURE);
}
