/* A model in one file: what layout/single.c reads from it becomes the manifest. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "layout/single.h"
#include "proto/files/manifest_model.h"
#include "proto/wire.h"

enum { NAME_MOST = 100 };

/* Pickles by their usual endings. */
static bool is_pickle(const char *path)
{
    static const char *const endings[] = {".ckpt", ".pt", ".pth", ".bin"};
    size_t length = strlen(path);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t tail = strlen(endings[i]);
        if (length > tail && strcmp(path + length - tail, endings[i]) == 0)
            return true;
    }
    return false;
}

static bool describe(Farm__Manifest *into, const char *path, struct error *error)
{
    struct single single;
    struct tensor_file *file = tensor_file_open(path, error);
    bool ok = file && single_read(&single, file, error);
    if (ok) {
        char reason[400];
        uint32_t factor = 1u << (single.vae.levels - 1);
        snprintf(reason, sizeof reason, "single file: %s", single.reason);
        manifest_set_family(into, single_family_name(single.family), reason);
        ok = manifest_set_size(into, path, factor, (int64_t)single.sample,
                               (int64_t)single.sample, factor, error);
    }
    tensor_file_close(&file);
    return ok;
}

Farm__Manifest *manifest_from_single(const char *path, const char *name,
                                     struct error *error)
{
    const char *slash = strrchr(path, '/'), *own = slash ? slash + 1 : path;
    const char *point = strrchr(own, '.');
    int stem = point && point > own ? (int)(point - own) : (int)strlen(own);
    if (is_pickle(path)) {
        error_set_kind(error, ERROR_INPUT,
                       "%s is a pickle, which may run code when it is read; convert it "
                       "with Python: safetensors.torch.save_file(torch.load(FILE, "
                       "weights_only=True)[\"state_dict\"], \"model.safetensors\")",
                       path);
        return NULL;
    }
    Farm__Manifest *self = malloc(sizeof *self);
    if (!self)
        abort();
    farm__manifest__init(self);
    char *short_name =
        name ? path_format("%s", name)
             : path_format("%.*s", stem < NAME_MOST ? stem : NAME_MOST, own);
    self->name = wire_own(wire_text(short_name));
    self->kind = wire_own(wire_text("single"));
    free(short_name);
    if (!describe(self, path, error) ||
        !manifest_add_file(self, "model.safetensors", path, error) ||
        !manifest_check(self, error))
        manifest_destroy(&self);
    return self;
}

Farm__Manifest *manifest_from_path(const char *path, const char *name,
                                   struct error *error)
{
    struct stat found;
    bool file = stat(path, &found) == 0 && S_ISREG(found.st_mode);
    return file ? manifest_from_single(path, name, error)
                : manifest_from_folder(path, name, error);
}
