/* A manifest from outside: what passes the check has an id, a hash, and only plain paths. */
#include <stdlib.h>
#include <string.h>

#include "proto/files/manifest.h"
#include "proto/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(const Farm__Manifest *manifest)
{
    struct error error;
    uint8_t id[BLOB_ID];
    char hash[11];
    if (!manifest_check(manifest, &error))
        return;
    manifest_id(manifest, id);
    manifest_model_hash(manifest, hash);
    for (size_t i = 0; i < manifest->n_files; i++) {
        char *path = wire_string(manifest->files[i]->path), *rest = path;
        for (char *part; (part = strsep(&rest, "/"));)
            if (!*part || strcmp(part, ".") == 0 || strcmp(part, "..") == 0)
                abort();
        free(path);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Farm__Envelope *envelope = wire_unpack(data, size, NULL);
    if (!envelope)
        return 0;
    if (envelope->body_case == FARM__ENVELOPE__BODY_MANIFEST)
        judge(envelope->manifest);
    if (envelope->body_case == FARM__ENVELOPE__BODY_MODEL_ADD)
        judge(envelope->model_add->manifest);
    farm__envelope__free_unpacked(envelope, NULL);
    return 0;
}
