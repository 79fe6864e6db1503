#include "proto/job/prompt_tags.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"

static const double weight_most = 100;

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '_';
}

/* "<word:...>" at `text`: the word's length, else 0; *end is its ">". */
static size_t tag_word(const char *text, const char *stop, const char **end)
{
    const char *at = text + 1;
    while (at < stop && is_word(*at))
        at++;
    if (at == text + 1 || at >= stop || *at != ':')
        return 0;
    *end = memchr(at, '>', (size_t)(stop - at));
    return *end && *end > at + 1 ? (size_t)(at - text - 1) : 0;
}

static bool read_weight(const char *text, size_t size, double *weight)
{
    char number[40], *end = NULL;
    if (!size || size >= sizeof number)
        return false;
    memcpy(number, text, size);
    number[size] = 0;
    if (number[strspn(number, "0123456789.eE+-")])
        return false;
    *weight = strtod(number, &end);
    return !*end && *weight >= -weight_most && *weight <= weight_most;
}

static bool read_tag(struct prompt_tag *tag, size_t word, const char *end,
                     struct error *error)
{
    static const char kind[] = "lora";
    int shown = (int)(end - tag->start < 80 ? end - tag->start : 80);
    if (word != strlen(kind) || memcmp(tag->start + 1, kind, word) != 0)
        return error_set_kind(error, ERROR_INPUT,
                              "prompt: \"%.*s>\": only <lora:NAME:WEIGHT> is known",
                              shown, tag->start);
    tag->name = tag->start + 1 + word + 1;
    const char *colon = memchr(tag->name, ':', (size_t)(end - tag->name));
    tag->name_size = (size_t)((colon ? colon : end) - tag->name);
    tag->weight = 1;
    if (!tag->name_size || memchr(tag->name, '/', tag->name_size) ||
        (colon && !read_weight(colon + 1, (size_t)(end - colon - 1), &tag->weight)))
        return error_set_kind(error, ERROR_INPUT,
                              "prompt: \"%.*s>\" is not <lora:NAME> or "
                              "<lora:NAME:WEIGHT> with a weight from -%g to %g",
                              shown, tag->start, weight_most, weight_most);
    tag->end = end + 1;
    return true;
}

bool prompt_tag_next(const char *text, size_t size, struct prompt_tag *tag,
                     struct error *error)
{
    const char *stop = text + size;
    *tag = (struct prompt_tag){0};
    while (text < stop) {
        const char *at = memchr(text, '<', (size_t)(stop - text)), *end = NULL;
        if (!at)
            break;
        size_t word = tag_word(at, stop, &end);
        if (word && end) {
            tag->start = at;
            return read_tag(tag, word, end, error);
        }
        text = at + 1;
    }
    return true;
}

char *prompt_tags_cut(const char *prompt)
{
    struct buffer text = {0};
    struct prompt_tag tag;
    bool more = true;
    while (more) {
        more = prompt_tag_next(prompt, strlen(prompt), &tag, NULL) && tag.end;
        size_t size = more ? (size_t)(tag.start - prompt) : strlen(prompt);
        if (!buffer_append(&text, prompt, size, NULL))
            abort();
        prompt = more ? tag.end : prompt;
    }
    if (!buffer_append(&text, "", 1, NULL))
        abort();
    return (char *)text.data;
}
