#include "tests/gpu/support_family.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "tests/invented.h"

static char *write_file(struct family *self, const json_t *what)
{
    const char *bundled = json_string_value(json_object_get(what, "copy"));
    if (bundled)
        return path_format("%s/models/emoji/%s", FARM_SOURCE_DIR, bundled);
    char *path = path_format("%s/%zu", self->folder, self->files.count);
    const json_t *tensors = json_object_get(what, "tensors");
    if (tensors)
        write_invented(path, tensors);
    else
        assert_int_equal(json_dump_file(json_object_get(what, "json"), path, 0), 0);
    return path;
}

void family_open(struct family *self, const char *name)
{
    json_error_t where;
    char *golden = path_format("%s/families/%s.json", FARM_GOLDEN_DIR, name);
    *self = (struct family){.golden = json_load_file(golden, 0, &where),
                            .folder = path_format("/tmp/farm-family-XXXXXX")};
    free(golden);
    if (!self->golden)
        fail_msg("%s.json: %s", name, where.text);
    assert_non_null(mkdtemp(self->folder));
    const char *file;
    json_t *what, *files = json_object_get(self->golden, "files");
    self->files.file = calloc(json_object_size(files), sizeof *self->files.file);
    assert_non_null(self->files.file);
    json_object_foreach(files, file, what)
    {
        char *path = write_file(self, what);
        self->files.file[self->files.count++] =
            (struct model_file){.name = path_format("%s", file), .path = path};
    }
}

void family_close(struct family *self)
{
    for (size_t i = 0; i < self->files.count; i++)
        if (strncmp(self->files.file[i].path, self->folder, strlen(self->folder)) == 0)
            unlink(self->files.file[i].path);
    rmdir(self->folder);
    free(self->folder);
    model_files_clear(&self->files);
    json_decref(self->golden);
}

struct golden_tensor family_tensor(const char *name, const char *tensor)
{
    char *file = path_format("families/%s.safetensors", name);
    struct golden_tensor golden = golden_load(file, tensor);
    free(file);
    return golden;
}
