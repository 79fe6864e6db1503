#include "proto/job/files.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ID_SIZE = 32 };
/* The numbers behind files of some kinds. */
static const struct weights {
    const char *kind;
    double usual, least, most;
    const char *meaning; /* where one out of range is no part of the name */
} weights[] = {
    {"lora", 1, -100, 100, NULL},
    {"model", 0.8, 0.01, 0.99, "where it goes on is a share of the way"},
};

static const struct weights *weights_of(const struct option *option)
{
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++)
        if (strcmp(option->choices, weights[i].kind) == 0)
            return &weights[i];
    return NULL;
}

/* Cuts ":0.8" off the item's end. A colon before anything else is part of the name. */
static bool take_weight(struct file_use *use, const struct option *option,
                        struct error *error)
{
    const struct weights *kind = weights_of(option);
    char *colon = strrchr(use->file, ':'), *end = NULL;
    if (!kind || !colon || !colon[1] || colon[1 + strspn(colon + 1, "0123456789.eE+-")])
        return true;
    double weight = strtod(colon + 1, &end);
    if (*end)
        return true;
    if (!(weight >= kind->least && weight <= kind->most))
        return !kind->meaning ||
               error_set_kind(error, ERROR_INPUT, "%s: \"%.60s\": %s, from %g to %g",
                              option->name, use->file, kind->meaning, kind->least,
                              kind->most);
    use->weight = weight + 0.0; /* -0 is 0 */
    *colon = 0;
    return true;
}

bool file_uses_read(struct file_uses *self, const struct option *option,
                    const char *value, struct error *error)
{
    const struct weights *kind = weights_of(option);
    *self = (struct file_uses){.usual = kind ? kind->usual : 1};
    for (const char *at = value; *value; at++) {
        size_t size = strcspn(at, ";");
        struct error why = {0};
        if (!size || size > FILE_NAME_MOST)
            error_set_kind(&why, ERROR_INPUT,
                           "%s: \"%.60s\": the name of a file has from 1 to %d bytes",
                           option->name, value, FILE_NAME_MOST);
        else if (self->count == FILES_MOST || (double)self->count == option->most)
            error_set_kind(&why, ERROR_INPUT, "%s: \"%.60s\": at most %zu %s",
                           option->name, value, self->count,
                           self->count == 1 ? "file is taken" : "files are taken");
        if (why.text[0]) {
            file_uses_clear(self);
            return error_set_kind(error, why.kind, "%s", why.text);
        }
        struct file_use *use = &self->item[self->count++];
        *use = (struct file_use){strndup(at, size), self->usual};
        if (!use->file)
            abort();
        if (!take_weight(use, option, error)) {
            file_uses_clear(self);
            return false;
        }
        at += size;
        if (!*at)
            break;
    }
    return true;
}

void file_uses_clear(struct file_uses *self)
{
    for (size_t i = 0; i < self->count; i++)
        free(self->item[i].file);
    *self = (struct file_uses){0};
}

/* The shortest text that reads back as the same weight. */
static void print_weight(double weight, char text[32])
{
    int precision = 6;
    do
        snprintf(text, 32, "%.*g", precision, weight);
    while (strtod(text, NULL) != weight && precision++ < 17);
}

char *file_uses_text(const struct file_uses *self)
{
    char *text = self->count ? NULL : strdup("");
    size_t size;
    if (text)
        return text;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        abort();
    for (size_t i = 0; i < self->count; i++) {
        char weight[32] = "";
        if (self->item[i].weight != self->usual)
            print_weight(self->item[i].weight, weight);
        fprintf(out, "%s%s%s%s", i ? ";" : "", self->item[i].file, *weight ? ":" : "",
                weight);
    }
    if (fclose(out) != 0)
        abort();
    return text;
}

static bool add_id(const struct option *option, const char *text,
                   uint8_t ids[INPUTS_MOST][ID_SIZE], size_t *count,
                   struct error *error)
{
    uint8_t id[ID_SIZE];
    size_t size;
    const char *end;
    if (sodium_hex2bin(id, sizeof id, text, strlen(text), NULL, &size, &end) != 0 ||
        size != ID_SIZE || *end)
        return error_set_kind(error, ERROR_INPUT,
                              "%s: \"%.80s\" is no file of the farm's: 64 hexadecimal "
                              "digits are expected",
                              option->name, text);
    for (size_t i = 0; i < *count; i++)
        if (memcmp(ids[i], id, ID_SIZE) == 0)
            return true;
    if (*count == INPUTS_MOST)
        return error_set_kind(error, ERROR_INPUT, "a task has more than %d files",
                              INPUTS_MOST);
    memcpy(ids[(*count)++], id, ID_SIZE);
    return true;
}

bool task_inputs(const struct task *self, uint8_t ids[INPUTS_MOST][32], size_t *count,
                 struct error *error)
{
    bool ok = true;
    *count = 0;
    for (const struct option *option = options; ok && option->name; option++) {
        if (option->type != OPTION_FILE)
            continue;
        struct file_uses uses;
        char *value = task_get(self, option);
        ok = file_uses_read(&uses, option, value, error);
        for (size_t i = 0; ok && i < uses.count; i++)
            ok = add_id(option, uses.item[i].file, ids, count, error);
        file_uses_clear(&uses);
        free(value);
    }
    return ok;
}
