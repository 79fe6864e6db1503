#include "tests/gpu/support_family.h"

#include <stdlib.h>

#include "base/path.h"
#include "tests/invented.h"

void family_open(struct family *self, const char *name)
{
    *self = (struct family){.folder = path_format("/tmp/farm-family-XXXXXX")};
    assert_non_null(mkdtemp(self->folder));
    self->golden = lay_out_family(name, self->folder);
    assert_ok(model_files_from_folder(&self->files, self->folder, &error));
}

void family_close(struct family *self)
{
    path_remove_tree(self->folder);
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

struct pixels invented_picture(const char *name, size_t width, size_t height)
{
    struct pixels picture = {.width = width, .height = height};
    uint64_t hash = name_hash(name);
    picture.rgb = calloc(width * height, 3);
    assert_non_null(picture.rgb);
    for (size_t i = 0; i < width * height * 3; i++)
        picture.rgb[i] = (uint8_t)invent(hash + i);
    return picture;
}
