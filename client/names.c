#include "client/names.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/path.h"

enum { VALUE_MOST = 80, NAME_MOST = 200 };

/* The next "{field:05}" at or behind `at`: NULL when there is none. */
static const char *next_field(const char *at, char name[32], int *width,
                              const char **behind)
{
    for (; (at = strchr(at, '{')); at++) {
        size_t size = strcspn(at + 1, ":}");
        if (size >= 32 || !at[1 + size])
            continue;
        memcpy(name, at + 1, size);
        name[size] = 0;
        const char *end = at + 1 + size;
        *width = *end == ':' ? (int)strtol(end + 1, (char **)&end, 10) : 0;
        *behind = end + 1;
        return at;
    }
    return NULL;
}

bool names_check(const char *template, struct error *error)
{
    char name[32];
    int width;
    const char *behind = template;
    if (!*template || *template == '.' || strchr(template, '/') ||
        strlen(template) > NAME_MOST)
        return error_set_kind(error, ERROR_INPUT,
                              "name: \"%.60s\" cannot be a file's name", template);
    while (next_field(behind, name, &width, &behind)) {
        if (behind[-1] != '}' || width < 0 || width > 20)
            return error_set_kind(error, ERROR_INPUT,
                                  "name: in \"%.60s\" a field is not like {index:05}",
                                  template);
        if (strcmp(name, "index") && !option_find(name))
            return error_set_kind(error, ERROR_INPUT,
                                  "name: there is no field {%s}; there are {index} and "
                                  "the options' names, like {seed}",
                                  name);
    }
    return true;
}

static void append_value(struct buffer *into, const char *value, int width)
{
    size_t size = strlen(value);
    bool number = size && !value[strspn(value, "0123456789")];
    for (size_t fill = number && (size_t)width > size ? (size_t)width - size : 0; fill;
         fill--)
        buffer_append(into, "0", 1, NULL);
    for (size_t i = 0; i < size && i < VALUE_MOST; i++) {
        unsigned char c = (unsigned char)value[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                     (c >= 'A' && c <= 'Z') || strchr("+-.,=", c);
        buffer_append(into, plain ? value + i : "_", 1, NULL);
    }
}

char *names_make(const char *template, const struct task *task, uint64_t index,
                 bool several)
{
    struct buffer made = {0};
    char name[32];
    int width;
    bool indexed = false;
    const char *at = template, *field, *behind;
    while ((field = next_field(at, name, &width, &behind))) {
        buffer_append(&made, at, (size_t)(field - at), NULL);
        bool is_index = !strcmp(name, "index");
        indexed = indexed || is_index;
        char *value = is_index ? path_format("%" PRIu64, index)
                               : task_get(task, option_find(name));
        append_value(&made, value, width);
        free(value);
        at = behind;
    }
    buffer_printf(&made, NULL, "%s", at);
    char *text =
        several && !indexed
            ? path_format("%.*s-%05" PRIu64, NAME_MOST, buffer_text(&made), index)
            : path_format("%.*s", NAME_MOST, buffer_text(&made));
    buffer_clear(&made);
    return text;
}
