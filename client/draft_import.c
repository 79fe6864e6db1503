/* What a draft brings into the farm before it is submitted: models given as folders, and the
 * files its options name. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "client/bundled.h"
#include "client/draft.h"
#include "client/import.h"
#include "proto/job/files.h"

/* One file brought in already: an axis may name it many times. */
struct brought {
    char *path;
    const char *kind;
    char id[BLOB_TEXT];
};

struct bringing {
    struct session *session;
    bool quiet;
    struct brought *item; /* heap */
    size_t count;
};

/* A model is a path when it looks like one and is there, or holds a model, or is a file of
 * weights. */
static bool is_path(const char *text)
{
    static const char ending[] = ".safetensors";
    size_t length = strlen(text), tail = sizeof ending - 1;
    bool weights = length > tail && strcmp(text + length - tail, ending) == 0;
    char *index = path_format("%s/model_index.json", text);
    bool path = access(index, F_OK) == 0 ||
                ((weights || strchr(text, '/')) && access(text, F_OK) == 0);
    free(index);
    return path;
}

static void set_value(ProtobufCBinaryData *value, char *text)
{
    free(value->data);
    value->data = (uint8_t *)text;
    value->len = strlen(text);
}

static bool import_model(struct bringing *self, ProtobufCBinaryData *value,
                         struct error *error)
{
    char *text = wire_string(*value), id[BLOB_TEXT];
    bool ok = true;
    if (is_path(text)) {
        ok = model_import(self->session, text, NULL, self->quiet, id, error);
        if (ok)
            set_value(value, path_format("%s", id));
    }
    free(text);
    return ok;
}

/* Whether some task asks for the bundled model, by name or by naming none. */
static bool wants_bundled(const Farm__Job *job)
{
    bool named = false, wanted = false;
    for (size_t i = 0; i < job->n_settings; i++)
        if (wire_is(job->settings[i]->name, "model", 5)) {
            named = true;
            wanted = wanted || wire_is(job->settings[i]->value, BUNDLED_MODEL,
                                       strlen(BUNDLED_MODEL));
        }
    for (size_t i = 0; i < job->n_axes; i++)
        for (size_t j = 0; j < job->axes[i]->n_values; j++)
            if (wire_is(job->axes[i]->name, "model", 5)) {
                named = true;
                wanted = wanted || wire_is(job->axes[i]->values[j], BUNDLED_MODEL,
                                           strlen(BUNDLED_MODEL));
            }
    return wanted || !named;
}

/* A refiner is a model, whose path or name a use of a file holds. */
static bool import_refiner(struct bringing *self, struct file_use *use,
                           struct error *error)
{
    char id[BLOB_TEXT];
    if (!strcmp(use->file, BUNDLED_MODEL))
        return bundled_import(self->session, self->quiet, error);
    if (!is_path(use->file))
        return true;
    if (!model_import(self->session, use->file, NULL, self->quiet, id, error))
        return false;
    free(use->file);
    use->file = path_format("%s", id);
    return true;
}

static bool import_file(struct bringing *self, const struct option *option,
                        struct file_use *use, struct error *error)
{
    const char *id = NULL;
    if (!strcmp(option->choices, "model"))
        return import_refiner(self, use, error) ||
               error_prefix(error, "%s", option->name);
    for (size_t i = 0; i < self->count && !id; i++)
        if (!strcmp(self->item[i].path, use->file) &&
            !strcmp(self->item[i].kind, option->choices))
            id = self->item[i].id;
    if (!id && access(use->file, F_OK) != 0)
        return !strpbrk(use->file, "/.") ||
               error_set_kind(error, ERROR_INPUT, "%s: %s: %s", option->name, use->file,
                              strerror(errno));
    if (!id) {
        self->item = realloc(self->item, (self->count + 1) * sizeof *self->item);
        if (!self->item)
            abort();
        struct brought *item = &self->item[self->count];
        if (!file_import(self->session, use->file, option->choices, self->quiet,
                         item->id, error))
            return error_prefix(error, "%s", option->name);
        item->path = path_format("%s", use->file);
        item->kind = option->choices;
        id = item->id;
        self->count++;
    }
    free(use->file);
    use->file = path_format("%s", id);
    return true;
}

static bool import_files(struct bringing *self, const struct option *option,
                         ProtobufCBinaryData *value, struct error *error)
{
    struct file_uses uses;
    char *text = wire_string(*value);
    bool ok = file_uses_read(&uses, option, text, error);
    for (size_t i = 0; ok && i < uses.count; i++)
        ok = import_file(self, option, &uses.item[i], error);
    if (ok)
        set_value(value, file_uses_text(&uses));
    file_uses_clear(&uses);
    free(text);
    return ok;
}

static bool import_value(struct bringing *self, ProtobufCBinaryData name,
                         ProtobufCBinaryData *value, struct error *error)
{
    if (wire_is(name, "model", 5))
        return import_model(self, value, error);
    char *text = wire_string(name);
    const struct option *option = option_find(text);
    free(text);
    return !option || option->type != OPTION_FILE ||
           import_files(self, option, value, error);
}

bool draft_import(struct draft *self, struct session *session, bool quiet,
                  struct error *error)
{
    Farm__Job *job = self->job;
    struct bringing bringing = {.session = session, .quiet = quiet};
    bool ok = !wants_bundled(job) || bundled_import(session, quiet, error);
    for (size_t i = 0; ok && i < job->n_settings; i++)
        ok = import_value(&bringing, job->settings[i]->name, &job->settings[i]->value,
                          error);
    for (size_t i = 0; ok && i < job->n_axes; i++)
        for (size_t j = 0; ok && j < job->axes[i]->n_values; j++)
            ok = import_value(&bringing, job->axes[i]->name, &job->axes[i]->values[j],
                              error);
    for (size_t i = 0; i < bringing.count; i++)
        free(bringing.item[i].path);
    free(bringing.item);
    return ok;
}
