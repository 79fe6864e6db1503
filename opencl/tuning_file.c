/* The file of what is known:
 *
 *     clfarm tuning 1 IDENTITY
 *     SHAPE<tab>VARIANT<tab>GAIN<tab>AT<tab>own|told
 *     ...
 *     sum HASH
 *
 * HASH is over every byte before its line. A file is taken whole or not at all. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/path.h"
#include "opencl/tuning.h"

enum { FILE_MOST = 1 << 17 };

static char *name_of(const struct tuning *self, char hex[2 * TUNING_IDENTITY + 1],
                     const char *folder)
{
    for (size_t i = 0; i < TUNING_IDENTITY; i++)
        snprintf(hex + 2 * i, 3, "%02x", self->identity[i]);
    return path_format("%s/%s.txt", folder, hex);
}

static bool take_line(struct tuning *self, const char *line)
{
    char shape[TUNING_SHAPE], variant[TUNING_VARIANT], from[5];
    double gain;
    int64_t at;
    struct tuned tuned;
    if (sscanf(line, "%95[^\t\n]\t%15[^\t\n]\t%lf\t%18" SCNd64 "\t%4[a-z]\n", shape,
               variant, &gain, &at, from) != 5 ||
        !tuned_read(&tuned, shape, variant, gain, at))
        return false;
    tuned.own = strcmp(from, "own") == 0;
    return tuning_learn(self, &tuned);
}

static bool take_all(struct tuning *self, char *text, const char *hex)
{
    char *head = path_format("clfarm tuning 1 %s\n", hex);
    bool ok = strncmp(text, head, strlen(head)) == 0;
    char *line = text + strlen(head), *end;
    free(head);
    while (ok && (end = strchr(line, '\n')) && strncmp(line, "sum ", 4) != 0) {
        *end = 0;
        ok = take_line(self, line);
        *end = '\n';
        line = end + 1;
    }
    uint64_t sum = 0;
    char rest;
    return ok && sscanf(line, "sum %16" SCNx64 "%c", &sum, &rest) == 2 &&
           rest == '\n' && sum == hash_bytes(HASH_START, text, (size_t)(line - text));
}

void tuning_load(struct tuning *self, const char *folder)
{
    char hex[2 * TUNING_IDENTITY + 1];
    char *path = name_of(self, hex, folder);
    struct buffer file = {0};
    struct error error = {0};
    if (!path_read(path, FILE_MOST, &file, &error)) {
        if (error.kind != ERROR_NOT_FOUND)
            log_warn("%s", error.text);
    } else {
        struct tuning *read = tuning_new(self->identity);
        if (strlen(buffer_text(&file)) == file.size &&
            take_all(read, (char *)file.data, hex))
            for (size_t i = 0; i < read->count; i++)
                tuning_learn(self, &read->tuned[i]);
        else
            log_warn("%s: damaged, what it knew is measured anew", path);
        tuning_destroy(&read);
    }
    buffer_clear(&file);
    free(path);
}

bool tuning_save(const struct tuning *self, const char *folder, struct error *error)
{
    char hex[2 * TUNING_IDENTITY + 1], shape[TUNING_SHAPE];
    char *path = name_of(self, hex, folder);
    struct buffer text = {0};
    bool ok = buffer_printf(&text, error, "clfarm tuning 1 %s\n", hex);
    for (size_t i = 0; ok && i < self->count; i++) {
        const struct tuned *tuned = &self->tuned[i];
        if (!tuned->at)
            continue;
        tuning_shape_write(&tuned->shape, shape);
        ok = buffer_printf(&text, error, "%s\t%s\t%.3f\t%" PRId64 "\t%s\n", shape,
                           tuned_variant_name(tuned), tuned->gain, tuned->at,
                           tuned->own ? "own" : "told");
    }
    ok = ok && buffer_printf(&text, error, "sum %016" PRIx64 "\n",
                             hash_bytes(HASH_START, text.data, text.size));
    ok = ok && path_make_folders(folder, 0755, error) &&
         path_write(path, text.data, text.size, path_shared_mode(), error);
    buffer_clear(&text);
    free(path);
    return ok;
}
