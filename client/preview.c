#include "client/preview.h"

#include <stdlib.h>

#include "base/path.h"
#include "client/print.h"
#include "proto/files/picture.h"

enum { SIDE_MOST = 1024 };

/* A worker made it: it is read and written again, so that nothing but its pixels lands in a
 * file. */
static bool make_file(const Farm__Preview *preview, struct buffer *file,
                      struct error *error)
{
    struct picture picture = {0};
    bool ok = picture_read_png(preview->png.data, preview->png.len, &picture, error);
    if (ok && (picture.width > SIDE_MOST || picture.height > SIDE_MOST))
        ok = error_set_kind(error, ERROR_INPUT, "%zux%zu pixels, at most %d a side",
                            picture.width, picture.height, SIDE_MOST);
    ok = ok && picture_write_png(&picture, NULL, 0, file, error);
    picture_clear(&picture);
    return ok || error_prefix(error, "a preview");
}

bool preview_save(const char *folder, const char *name, const Farm__Preview *preview,
                  bool shows, struct error *error)
{
    struct buffer file = {0};
    char *previews = path_format("%s/previews", folder);
    char *path = path_format("%s/%s.png", previews, name);
    bool ok = make_file(preview, &file, error) &&
              path_make_folders(previews, 0777, error) &&
              path_write(path, file.data, file.size, path_shared_mode(), error);
    if (ok && shows)
        progress_picture(file.data, file.size);
    free(path);
    free(previews);
    buffer_clear(&file);
    return ok;
}
