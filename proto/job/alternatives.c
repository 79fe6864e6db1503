#include "proto/job/alternatives.h"

#include <inttypes.h>
#include <string.h>

static bool is_escape(const char *at, const char *end)
{
    return *at == '\\' && at + 1 < end && strchr("{|}", at[1]) && at[1];
}

/* The group that begins at the brace `at`: where it ends (behind its brace) and how many
 * texts it holds. NULL when it is not closed or holds another brace. */
static const char *group(const char *at, const char *end, uint64_t *texts)
{
    *texts = 1;
    for (at++; at < end; at++) {
        if (is_escape(at, end))
            at++;
        else if (*at == '|')
            ++*texts;
        else if (*at == '{')
            return NULL;
        else if (*at == '}')
            return at + 1;
    }
    return NULL;
}

bool alternatives_count(const char *text, size_t size, uint64_t most, uint64_t *count,
                        struct error *error)
{
    *count = 1;
    if (!size || !memchr(text, '{', size))
        return true;
    for (const char *at = text, *end = text + size; at < end; at++) {
        if (is_escape(at, end)) {
            at++;
            continue;
        }
        if (*at != '{')
            continue;
        uint64_t texts;
        const char *behind = group(at, end, &texts);
        if (!behind)
            return error_set_kind(error, ERROR_INPUT,
                                  "prompt: the brace in \"%.*s\" is not closed before "
                                  "the next; write \\{ for a brace itself",
                                  (int)(end - at < 40 ? end - at : 40), at);
        if (__builtin_mul_overflow(*count, texts, count) || *count > most)
            return error_set_kind(
                error, ERROR_INPUT,
                "prompt: its alternatives make more than %" PRIu64 " prompts", most);
        at = behind - 1;
    }
    return true;
}

/* Appends with the backslashes of escapes dropped. */
static bool unescape(const char *at, const char *end, struct buffer *into,
                     struct error *error)
{
    for (; at < end; at++) {
        if (is_escape(at, end))
            at++;
        if (!buffer_append(into, at, 1, error))
            return false;
    }
    return true;
}

/* The text number `pick` between the braces of a group. */
static bool pick_text(const char *at, const char *close, uint64_t pick,
                      struct buffer *into, struct error *error)
{
    const char *start = at;
    for (; at < close; at++) {
        if (is_escape(at, close)) {
            at++;
        } else if (*at == '|') {
            if (!pick--)
                break;
            start = at + 1;
        }
    }
    return unescape(start, at, into, error);
}

bool alternatives_pick(const char *text, size_t size, uint64_t index, uint64_t count,
                       struct buffer *into, struct error *error)
{
    const char *end = size ? text + size : text; /* an empty one has no address */
    const char *plain = text;
    bool ok = true;
    for (const char *at = text; ok && at < end; at++) {
        if (is_escape(at, end)) {
            at++;
            continue;
        }
        uint64_t texts;
        const char *behind = *at == '{' ? group(at, end, &texts) : NULL;
        if (!behind || texts < 2)
            continue;
        count /= texts;
        ok = unescape(plain, at, into, error) &&
             pick_text(at + 1, behind - 1, index / count, into, error);
        index %= count;
        plain = behind;
        at = behind - 1;
    }
    return ok && unescape(plain, end, into, error);
}

bool alternatives_escape(const char *text, struct buffer *into, struct error *error)
{
    for (; *text; text++)
        if ((strchr("{|}", *text) && !buffer_append(into, "\\", 1, error)) ||
            !buffer_append(into, text, 1, error))
            return false;
    return true;
}
