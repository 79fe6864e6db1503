/* What prompts refer to on this machine: lines of wildcard files, LoRAs by name. Folders are
 * the settings `wildcards` and `loras`. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "client/draft_parts.h"
#include "config/settings.h"
#include "proto/job/alternatives.h"
#include "proto/job/files.h"
#include "proto/job/prompt_tags.h"
#include "proto/wire.h"

enum { WILDCARD_FILE_MOST = 1 << 20 };

static const char wildcard_mark[] = "__";

static bool is_plain(const Farm__Job *job)
{
    for (size_t i = 0; i < job->n_settings; i++)
        if (wire_is(job->settings[i]->name, "syntax", strlen("syntax")) &&
            wire_is(job->settings[i]->value, "plain", strlen("plain")))
            return true;
    return false;
}

static char *folder_of(bool wildcards, struct error *error)
{
    struct client_settings settings;
    if (config_load(&client_program, &settings, NULL, NULL, error) != CONFIG_READY)
        return NULL;
    char *folder = path_format("%s", wildcards ? settings.wildcards : settings.loras);
    config_clear(&client_program, &settings);
    return folder;
}

/* ---- Wildcards */

/* The next "__name__" in text, name of letters, digits, "-", "/" and single "_". */
static const char *find_wildcard(const char *text, size_t *size)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-/_";
    size_t mark = strlen(wildcard_mark);
    for (const char *at = text; (at = strstr(at, wildcard_mark)); at++) {
        const char *name = at + mark, *end = strstr(name, wildcard_mark);
        if (end && end > name && *name != '/' &&
            strspn(name, allowed) >= (size_t)(end - name)) {
            *size = (size_t)(end - name);
            return name;
        }
    }
    return NULL;
}

/* Appends the file's lines as a group of alternatives, or its only line as it is. */
static bool add_lines(struct buffer *into, char *lines, const char *path,
                      struct error *error)
{
    size_t count = 0, start = into->size;
    bool ok = buffer_append(into, "{", 1, error);
    for (char *save = NULL, *line = strtok_r(lines, "\r\n", &save); ok && line;
         line = strtok_r(NULL, "\r\n", &save)) {
        line += strspn(line, " \t");
        size_t size = strlen(line), inner;
        while (size && strchr(" \t", line[size - 1]))
            line[--size] = 0;
        if (!size || *line == '#')
            continue;
        if (find_wildcard(line, &inner))
            return error_set_kind(error, ERROR_INPUT,
                                  "%s: \"%.60s\": a wildcard within a wildcard's file "
                                  "is not taken; write its lines out",
                                  path, line);
        ok = (!count++ || buffer_append(into, "|", 1, error)) &&
             alternatives_escape(line, into, error);
    }
    if (ok && !count)
        return error_set_kind(error, ERROR_INPUT, "%s: there is no line in it", path);
    if (ok && count == 1) {
        memmove(into->data + start, into->data + start + 1, into->size - start - 1);
        into->size--;
        return true;
    }
    return ok && buffer_append(into, "}", 1, error);
}

static bool add_wildcard(struct buffer *into, const char *folder, const char *name,
                         size_t size, struct error *error)
{
    struct buffer lines = {0};
    char *path = path_format("%s/%.*s.txt", folder, (int)size, name);
    bool ok = path_read(path, WILDCARD_FILE_MOST, &lines, error);
    if (!ok && error && error->kind == ERROR_NOT_FOUND)
        error_set_kind(error, ERROR_INPUT,
                       "prompt: __%.*s__: there is no %s; the setting `wildcards` says "
                       "where such files lie",
                       (int)(size < 80 ? size : 80), name, path);
    ok = ok && add_lines(into, (char *)(uintptr_t)buffer_text(&lines), path, error);
    buffer_clear(&lines);
    free(path);
    return ok;
}

static bool expand(ProtobufCBinaryData *prompt, const char *folder, struct error *error)
{
    char *text = wire_string(*prompt);
    struct buffer whole = {0};
    const char *at = text, *name;
    size_t size, mark = strlen(wildcard_mark);
    bool ok = true;
    while (ok && (name = find_wildcard(at, &size))) {
        ok = buffer_append(&whole, at, (size_t)(name - mark - at), error) &&
             add_wildcard(&whole, folder, name, size, error);
        at = name + size + mark;
    }
    ok = ok && buffer_append(&whole, at, strlen(at), error);
    if (ok) {
        free(prompt->data);
        *prompt = wire_own(wire_text(buffer_text(&whole)));
    }
    buffer_clear(&whole);
    free(text);
    return ok;
}

bool draft_wildcards(Farm__Job *job, struct error *error)
{
    bool ok = true;
    for (size_t i = 0; ok && !is_plain(job) && i < job->n_prompts; i++) {
        char *text = wire_string(job->prompts[i]);
        size_t size;
        if (find_wildcard(text, &size)) {
            char *folder = folder_of(true, error);
            ok = folder && expand(&job->prompts[i], folder, error);
            free(folder);
        }
        free(text);
    }
    return ok;
}

/* ---- LoRAs */

/* Whether the list of files has one of that name already. */
static bool has_lora(const char *value, const char *name, size_t size)
{
    struct file_uses uses;
    bool found = false;
    if (!file_uses_read(&uses, option_find("lora"), value, NULL))
        return false;
    for (size_t i = 0; i < uses.count; i++) {
        const char *slash = strrchr(uses.item[i].file, '/');
        const char *base = slash ? slash + 1 : uses.item[i].file;
        const char *point = strrchr(base, '.');
        size_t stem = point ? (size_t)(point - base) : strlen(base);
        found = found || (stem == size && memcmp(base, name, size) == 0);
    }
    file_uses_clear(&uses);
    return found;
}

/* Adds the file with weight 0: only where a prompt's tag says so is it used. */
static bool bring_lora(char **value, const char *folder, const struct prompt_tag *tag,
                       struct error *error)
{
    if (has_lora(*value, tag->name, tag->name_size))
        return true;
    char *path =
        path_format("%s/%.*s.safetensors", folder, (int)tag->name_size, tag->name);
    bool ok = access(path, R_OK) == 0 ||
              error_set_kind(error, ERROR_INPUT,
                             "prompt: <lora:%.*s>: there is no %s; the setting `loras` "
                             "says where such files lie",
                             (int)(tag->name_size < 80 ? tag->name_size : 80),
                             tag->name, path);
    if (ok) {
        char *more = path_format("%s%s%s:0", *value, **value ? ";" : "", path);
        free(*value);
        *value = more;
    }
    free(path);
    return ok;
}

static bool bring_all(ProtobufCBinaryData prompt, const char *folder, char **value,
                      struct error *error)
{
    char *text = wire_string(prompt);
    struct prompt_tag tag = {.end = text};
    bool ok = true;
    while (ok) {
        ok = prompt_tag_next(tag.end, strlen(tag.end), &tag, error);
        if (!ok || !tag.start)
            break;
        ok = bring_lora(value, folder, &tag, error);
    }
    free(text);
    return ok;
}

bool draft_tags(Farm__Job *job, struct error *error)
{
    if (is_plain(job))
        return true;
    char *value = path_format("%s", ""), *folder = folder_of(false, error);
    bool ok = folder != NULL;
    for (size_t i = 0; i < job->n_settings; i++)
        if (wire_is(job->settings[i]->name, "lora", strlen("lora"))) {
            free(value);
            value = wire_string(job->settings[i]->value);
        }
    char *before = path_format("%s", value);
    for (size_t i = 0; ok && i < job->n_prompts; i++)
        ok = bring_all(job->prompts[i], folder, &value, error);
    for (size_t i = 0; ok && i < job->n_axes; i++)
        for (size_t j = 0; ok && j < job->axes[i]->n_values; j++)
            if (wire_is(job->axes[i]->name, "prompt", strlen("prompt")))
                ok = bring_all(job->axes[i]->values[j], folder, &value, error);
    if (ok && strcmp(before, value) != 0)
        draft_set(job, "lora", value);
    free(before);
    free(folder);
    free(value);
    return ok;
}
