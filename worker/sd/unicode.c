/* utf8proc knows Unicode 15. The tokenizers' normal form is older (Unicode 9), their letters
 * and numbers are newer (16), their lower case is newer still (17). The tables here are the
 * differences, found by asking both about every character there can be.
 */
#include "worker/sd/unicode.h"

#include <stdlib.h>
#include <utf8proc.h>

struct range {
    int32_t first, last;
};
#define IN(table, point) is_in(table, sizeof(table) / sizeof *(table), point)

/* Letters and numbers of Unicode 15.1 and 16. */
static const struct range new_letters[] = {
    {0x1c89, 0x1c8a},   {0xa7cb, 0xa7cd},   {0xa7da, 0xa7dc},   {0x105c0, 0x105f3},
    {0x10d4a, 0x10d65}, {0x10d6f, 0x10d85}, {0x10ec2, 0x10ec4}, {0x11380, 0x11389},
    {0x1138b, 0x1138b}, {0x1138e, 0x1138e}, {0x11390, 0x113b5}, {0x113b7, 0x113b7},
    {0x113d1, 0x113d1}, {0x113d3, 0x113d3}, {0x11bc0, 0x11be0}, {0x13460, 0x143fa},
    {0x16100, 0x1611d}, {0x16d40, 0x16d6c}, {0x18cff, 0x18cff}, {0x1e5d0, 0x1e5ed},
    {0x1e5f0, 0x1e5f0}, {0x2ebf0, 0x2ee5d},
};
static const struct range new_numbers[] = {
    {0x10d40, 0x10d49}, {0x116d0, 0x116e3}, {0x11bf0, 0x11bf9}, {0x16130, 0x16139},
    {0x16d70, 0x16d79}, {0x1ccf0, 0x1ccf9}, {0x1e5f1, 0x1e5fa},
};
static const struct range spaces[] = {
    {0x9, 0xd},       {0x20, 0x20},     {0x85, 0x85},     {0xa0, 0xa0},
    {0x1680, 0x1680}, {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f},
    {0x205f, 0x205f}, {0x3000, 0x3000},
};

/* Marks younger than Unicode 9: for the normal form they are letters like any other, so
 * that nothing is reordered or composed across them. */
static const struct range young_marks[] = {
    {0x7fd, 0x7fd},     {0x898, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},
    {0xc3c, 0xc3c},     {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x1715, 0x1715},
    {0x1abf, 0x1ace},   {0x1df6, 0x1dfa},   {0xa82c, 0xa82c},   {0x10d24, 0x10d27},
    {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50}, {0x10f82, 0x10f85},
    {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x1145e, 0x1145e}, {0x11839, 0x1183a},
    {0x11930, 0x11930}, {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0},
    {0x11a34, 0x11a34}, {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11d42, 0x11d42},
    {0x11d44, 0x11d45}, {0x11d97, 0x11d97}, {0x11f41, 0x11f42}, {0x16ff0, 0x16ff1},
    {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef},
    {0x1e4ec, 0x1e4ef},
};

/* Capitals of Unicode 16 and 17, and how far away their lower case is. */
static const struct {
    struct range range;
    int32_t step;
} new_capitals[] = {
    {{0x1c89, 0x1c89}, 1},      {{0xa7cb, 0xa7cb}, 0x264 - 0xa7cb},
    {{0xa7cc, 0xa7cc}, 1},      {{0xa7ce, 0xa7ce}, 1},
    {{0xa7d2, 0xa7d2}, 1},      {{0xa7d4, 0xa7d4}, 1},
    {{0xa7da, 0xa7da}, 1},      {{0xa7dc, 0xa7dc}, 0x19b - 0xa7dc},
    {{0x10d50, 0x10d65}, 0x20}, {{0x16ea0, 0x16eb8}, 0x1b},
};

static bool is_in(const struct range *table, size_t count, int32_t point)
{
    for (size_t i = 0; i < count; i++)
        if (point >= table[i].first && point <= table[i].last)
            return true;
    return false;
}

enum unicode_class unicode_class(int32_t point)
{
    utf8proc_category_t category = utf8proc_category(point);
    if (IN(spaces, point))
        return UNICODE_SPACE;
    if ((category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||
        IN(new_letters, point))
        return UNICODE_LETTER;
    if ((category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO) ||
        IN(new_numbers, point))
        return UNICODE_NUMBER;
    return UNICODE_OTHER;
}

/* The first code point and its bytes; 0 where they are no UTF-8. */
static size_t first_of(const char *text, size_t size, int32_t *point)
{
    utf8proc_ssize_t length =
        utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)size, point);
    return length > 0 ? (size_t)length : 0;
}

size_t unicode_spaces(const char *text, size_t size)
{
    size_t at = 0, length;
    int32_t point;
    while (at < size && (length = first_of(text + at, size - at, &point)) &&
           (unicode_class(point) == UNICODE_SPACE || (point >= 0x1c && point <= 0x1f)))
        at += length;
    return at;
}

bool unicode_word_at(const char *text, size_t size)
{
    int32_t point;
    if (!size || !first_of(text, size, &point))
        return false;
    enum unicode_class class = unicode_class(point);
    return class == UNICODE_LETTER || class == UNICODE_NUMBER || point == '_';
}

bool unicode_word_before(const char *text, size_t at)
{
    size_t start = at;
    while (start > 0 && at - start < 4) {
        start--;
        if (((uint8_t)text[start] & 0xC0) != 0x80)
            return unicode_word_at(text + start, at - start);
    }
    return false;
}

static int32_t lower_of(int32_t point)
{
    for (size_t i = 0; i < sizeof new_capitals / sizeof *new_capitals; i++)
        if (is_in(&new_capitals[i].range, 1, point))
            return point + new_capitals[i].step;
    return utf8proc_tolower(point);
}

/* Bytes of text before the first young mark. */
static size_t old_part(const char *text, size_t size)
{
    size_t at = 0;
    while (at < size) {
        utf8proc_int32_t point;
        utf8proc_ssize_t length = utf8proc_iterate(
            (const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(size - at), &point);
        if (length <= 0 || IN(young_marks, point))
            break;
        at += (size_t)length;
    }
    return at;
}

/* Normal form C of `size` bytes into `points`, room for `room`. Returns how many, below 0
 * when the bytes are no UTF-8. */
static utf8proc_ssize_t compose(const char *text, size_t size, int32_t *points,
                                size_t room)
{
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    utf8proc_ssize_t count =
        utf8proc_decompose((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)size,
                           points, (utf8proc_ssize_t)room, options);
    if (count <= 0)
        return count;
    return utf8proc_normalize_utf32(points, count, options);
}

bool unicode_normalize(const char *text, size_t size, int32_t **points, size_t *count,
                       struct error *error)
{
    /* No character decomposes to more than 4 code points (18 only with compatibility
     * forms, which are not used), none has fewer bytes than 1; lower case adds one. */
    size_t room, at = 0, filled = 0;
    *points = NULL;
    if (__builtin_mul_overflow(size + 1, (size_t)5 * sizeof **points, &room) ||
        !(*points = malloc(room)))
        return error_set_kind(error, ERROR_MEMORY, "no memory for %zu bytes of text",
                              size);
    room /= sizeof **points;
    while (at < size) {
        size_t part = old_part(text + at, size - at);
        bool young = part == 0;
        if (young) /* the mark itself; 2 to 4 bytes, or a byte that is no UTF-8 */
            part = (size_t)utf8proc_utf8class[(uint8_t)text[at]];
        utf8proc_ssize_t more =
            part && part <= size - at
                ? compose(text + at, part, *points + filled, room - filled)
                : -1;
        if (more <= 0) {
            free(*points);
            *points = NULL;
            return error_set_kind(error, ERROR_INPUT, "text is no UTF-8 from byte %zu",
                                  at);
        }
        filled += (size_t)more;
        at += part;
    }
    *count = 0;
    for (size_t i = 0; i < filled; i++)
        *count += (*points)[i] == 0x130;
    for (size_t from = filled, to = filled + *count; from-- > 0;) {
        int32_t point = (*points)[from];
        if (point == 0x130) /* the one lower case of two */
            (*points)[--to] = 0x307;
        (*points)[--to] = point == 0x130 ? 'i' : lower_of(point);
    }
    *count += filled;
    return true;
}
