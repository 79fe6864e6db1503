#include "worker/sd/part_files.h"

#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "worker/sd/model_config.h"

enum { SHARDS_MOST = 256 };

char *part_files_name(const char *folder, const char *name)
{
    return path_format("%s%s%s", folder, folder[0] ? "/" : "", name);
}

const char *part_files_need(const struct model_files *files, const char *name,
                            struct error *error)
{
    const char *path = model_files_path(files, name);
    if (!path)
        error_set_kind(error, ERROR_INPUT,
                       "%s is missing; expected a model folder as diffusers saves it",
                       name);
    return path;
}

static const struct model_file *find(const struct model_files *files, const char *name)
{
    for (size_t i = 0; i < files->count; i++)
        if (strcmp(files->file[i].name, name) == 0)
            return &files->file[i];
    return NULL;
}

/* Adds the file to the list, each once. */
static bool list_shard(const struct model_files *files, const char *folder,
                       const char *name, const struct model_file **shard, size_t *count,
                       struct error *error)
{
    char *whole = part_files_name(folder, name ? name : "");
    const struct model_file *file = name ? find(files, whole) : NULL;
    bool known = false;
    for (size_t i = 0; i < *count; i++)
        known = known || shard[i] == file;
    bool ok = true;
    if (!file)
        ok = error_set_kind(error, ERROR_INPUT,
                            "%s is missing, which the index of the weights names",
                            name ? whole : "a file");
    else if (!known && *count == SHARDS_MOST)
        ok = error_set_kind(error, ERROR_INPUT, "%s: more than %d files of weights",
                            whole, SHARDS_MOST);
    else if (!known)
        shard[(*count)++] = file;
    free(whole);
    return ok;
}

/* The index: {"weight_map": {TENSOR: FILE, ...}}. */
static struct checkpoint *open_index(const struct model_files *files,
                                     const char *folder, const struct model_file *index,
                                     struct error *error)
{
    const struct model_file *shard[SHARDS_MOST];
    size_t count = 0;
    struct model_config config;
    if (!model_config_open(&config, index->path, index->name, error))
        return NULL;
    const json_t *map = json_object_get(config.root, "weight_map");
    const char *tensor;
    json_t *name;
    bool ok = true;
    json_object_foreach((json_t *)(uintptr_t)map, tensor, name) ok =
        ok && list_shard(files, folder, json_string_value(name), shard, &count, error);
    if (ok && !count)
        ok = error_set_kind(error, ERROR_INPUT, "%s: names no files", index->name);
    model_config_close(&config, NULL);
    return ok ? checkpoint_open_shards(shard, count, error) : NULL;
}

struct checkpoint *part_files_open(const struct model_files *files, const char *folder,
                                   const char *stem, struct error *error)
{
    static const struct {
        const char *ending;
        bool index;
    } forms[] = {
        {".safetensors", false},
        {".safetensors.index.json", true},
        {".fp16.safetensors", false},
        {".safetensors.index.fp16.json", true},
        {".fp16.safetensors.index.json", true},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char *name = path_format("%s%s%s%s", folder, folder[0] ? "/" : "", stem,
                                 forms[i].ending);
        const struct model_file *file = find(files, name);
        free(name);
        if (file && forms[i].index)
            return open_index(files, folder, file, error);
        if (file)
            return checkpoint_open_shards(&file, 1, error);
    }
    error_set_kind(
        error, ERROR_INPUT,
        "%s%s%s.safetensors is missing; expected a model folder as diffusers "
        "saves it",
        folder, folder[0] ? "/" : "", stem);
    return NULL;
}
