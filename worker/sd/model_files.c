#include "worker/sd/model_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/path.h"

enum { FILES_MOST = 4096, LEVELS_MOST = 8 };

static bool add_file(struct model_files *self, const char *name, const char *path,
                     struct error *error)
{
    if (self->count == FILES_MOST)
        return error_set_kind(error, ERROR_INPUT, "%s: more than %d files; no model?",
                              path, FILES_MOST);
    struct model_file *file =
        realloc(self->file, (self->count + 1) * sizeof *self->file);
    if (!file)
        return error_set_kind(error, ERROR_MEMORY, "%s: no memory", path);
    self->file = file;
    file[self->count++] = (struct model_file){.name = path_format("%s", name),
                                              .path = path_format("%s", path)};
    return true;
}

/* Adds what lies in `folder`, whose own name below the model's folder is `below`. */
static bool add_folder(struct model_files *self, const char *folder, const char *below,
                       int level, struct error *error)
{
    if (level > LEVELS_MOST)
        return error_set_kind(error, ERROR_INPUT,
                              "%s: more than %d folders deep; no model?", folder,
                              LEVELS_MOST);
    DIR *stream = opendir(folder);
    if (!stream)
        return error_set_kind(error, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_INPUT,
                              "%s: %s", folder, strerror(errno));
    bool ok = true;
    struct dirent *entry;
    while (ok && (entry = readdir(stream))) {
        if (entry->d_name[0] == '.')
            continue;
        char *path = path_format("%s/%s", folder, entry->d_name);
        char *name = path_format("%s%s%s", below, below[0] ? "/" : "", entry->d_name);
        struct stat found;
        if (stat(path, &found) != 0)
            ok = error_set_kind(error, ERROR_INPUT, "%s: %s", path, strerror(errno));
        else if (S_ISDIR(found.st_mode))
            ok = add_folder(self, path, name, level + 1, error);
        else if (S_ISREG(found.st_mode))
            ok = add_file(self, name, path, error);
        free(name);
        free(path);
    }
    closedir(stream);
    return ok;
}

static int by_name(const void *a, const void *b)
{
    const struct model_file *x = a, *y = b;
    return strcmp(x->name, y->name);
}

bool model_files_from_folder(struct model_files *self, const char *folder,
                             struct error *error)
{
    *self = (struct model_files){0};
    if (!add_folder(self, folder, "", 0, error)) {
        model_files_clear(self);
        return false;
    }
    if (self->count)
        qsort(self->file, self->count, sizeof *self->file, by_name);
    return true;
}

const char *model_files_path(const struct model_files *self, const char *name)
{
    for (size_t i = 0; i < self->count; i++)
        if (strcmp(self->file[i].name, name) == 0)
            return self->file[i].path;
    return NULL;
}

/* "NAME: PATH: ..." becomes "NAME: ...", any other PATH becomes NAME. */
static bool rename_one(const struct model_file *file, struct error *error)
{
    const char *at = strstr(error->text, file->path);
    if (!at)
        return false;
    size_t before = (size_t)(at - error->text), name = strlen(file->name);
    const char *after = at + strlen(file->path);
    bool named = before >= name + 2 && !memcmp(at - 2, ": ", 2) &&
                 !memcmp(at - 2 - name, file->name, name);
    if (named)
        before -= name + 2;
    char *text = path_format("%.*s%s%s", (int)before, error->text, file->name, after);
    snprintf(error->text, sizeof error->text, "%s", text);
    free(text);
    return true;
}

bool model_files_rename(const struct model_files *self, struct error *error)
{
    for (size_t i = 0; error && i < self->count; i++)
        if (rename_one(&self->file[i], error))
            break;
    return false;
}

void model_files_copy(struct model_files *self, const struct model_files *from)
{
    *self = (struct model_files){calloc(from->count + 1, sizeof *self->file), 0};
    if (!self->file)
        abort();
    for (; self->count < from->count; self->count++)
        self->file[self->count] = (struct model_file){
            .name = path_format("%s", from->file[self->count].name),
            .path = path_format("%s", from->file[self->count].path)};
}

bool model_files_same(const struct model_files *a, const struct model_files *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = strcmp(a->file[i].name, b->file[i].name) == 0 &&
               strcmp(a->file[i].path, b->file[i].path) == 0;
    return same;
}

void model_files_clear(struct model_files *self)
{
    for (size_t i = 0; i < self->count; i++) {
        free(self->file[i].name);
        free(self->file[i].path);
    }
    free(self->file);
    *self = (struct model_files){0};
}
