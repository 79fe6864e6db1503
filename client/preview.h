/* Pictures of what is being rendered, as they come, in files that newer ones replace. */
#ifndef FARM_CLIENT_PREVIEW_H
#define FARM_CLIENT_PREVIEW_H

#include "base/error.h"
#include "proto/farm.pb-c.h"

/* Writes FOLDER/previews/NAME.png, whole at any moment, and shows it under the lines of
 * progress, where there are any. ERROR_INPUT when what came is no
 * small PNG file, or the file cannot be written. */
bool preview_save(const char *folder, const char *name, const Farm__Preview *preview,
                  bool shows, struct error *error);

#endif
