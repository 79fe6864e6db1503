/* Bringing model folders and files into a farm. */
#ifndef FARM_IMPORT_H
#define FARM_IMPORT_H

#include "client/session.h"
#include "proto/files/blob.h"

/* Hashes the model, a folder or one safetensors file, tells the farm its manifest (under `name`, or the folder's own when
 * NULL) and gives it the files it lacks: by hard link where the farm is a private one on
 * this machine, else over the bulk link. `id`: the manifest's id as hexadecimal digits. */
bool model_import(struct session *session, const char *path, const char *name,
                  bool quiet, char id[BLOB_TEXT], struct error *error);

/* The same for a file that a job brings along, of a kind of manifest_from_file. */
bool file_import(struct session *session, const char *path, const char *kind,
                 bool quiet, char id[BLOB_TEXT], struct error *error);

#endif
