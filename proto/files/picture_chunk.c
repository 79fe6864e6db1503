/* Text put into a finished PNG file, and taken out again, byte for byte:
 *
 *   signature (8) | IHDR | ... chunks: length (4) type (4) data crc (4) ... | IEND
 *
 * The new tEXt stands right behind IHDR. Nothing else is touched, so that the file without
 * it hashes to what it hashed to before.
 */
#include <string.h>
#include <zlib.h>

#include "proto/files/picture.h"

enum {
    PNG_SIGNATURE = 8,
    CHUNK_FRAME = 12,
    IHDR_END = PNG_SIGNATURE + CHUNK_FRAME + 13
};

static size_t number_at(const uint8_t *at)
{
    return (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
}

static void put_number(uint8_t *at, size_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static bool begins_png(const uint8_t *data, size_t size, struct error *error)
{
    static const uint8_t signature[] = "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR";
    return (size >= IHDR_END && memcmp(data, signature, sizeof signature - 1) == 0) ||
           error_set_kind(error, ERROR_INPUT, "PNG: this is no PNG file");
}

bool picture_put_text(const void *png, size_t size, const char *keyword,
                      const char *text, struct buffer *into, struct error *error)
{
    const uint8_t *data = png;
    size_t key = strlen(keyword) + 1, length = key + strlen(text);
    uint8_t frame[8];
    if (!begins_png(data, size, error))
        return false;
    put_number(frame, length);
    memcpy(frame + 4, "tEXt", 4);
    size_t start = into->size + IHDR_END + 4;
    if (!buffer_append(into, data, IHDR_END, error) ||
        !buffer_append(into, frame, sizeof frame, error) ||
        !buffer_append(into, keyword, key, error) ||
        !buffer_append(into, text, length - key, error))
        return false;
    put_number(frame, crc32(0, into->data + start, (uInt)(length + 4)));
    return buffer_append(into, frame, 4, error) &&
           buffer_append(into, data + IHDR_END, size - IHDR_END, error);
}

bool picture_cut_text(const void *png, size_t size, const char *keyword,
                      struct buffer *into, struct buffer *text, struct error *error)
{
    const uint8_t *data = png;
    size_t key = strlen(keyword) + 1, at = PNG_SIGNATURE;
    if (!begins_png(data, size, error) || !buffer_append(into, data, at, error))
        return false;
    while (size - at >= CHUNK_FRAME &&
           number_at(data + at) <= size - at - CHUNK_FRAME) {
        const uint8_t *chunk = data + at;
        size_t length = number_at(chunk);
        bool is_ours = memcmp(chunk + 4, "tEXt", 4) == 0 && length >= key &&
                       memcmp(chunk + 8, keyword, key) == 0;
        if (!(is_ours ? buffer_append(text, chunk + 8 + key, length - key, error)
                      : buffer_append(into, chunk, length + CHUNK_FRAME, error)))
            return false;
        at += length + CHUNK_FRAME;
    }
    return buffer_append(into, data + at, size - at, error);
}
