#include "client/model_names.h"

#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "client/ask.h"
#include "proto/files/blob.h"
#include "proto/files/manifest.h"
#include "proto/wire.h"

static bool same(ProtobufCBinaryData a, ProtobufCBinaryData b)
{
    return a.len == b.len && !memcmp(a.data, b.data, a.len);
}

/* Puts the model's name in place of its id, where the farm knows it. */
static void put_name(ProtobufCBinaryData *value, const Farm__Models *models)
{
    const Farm__ModelInfo *found = NULL;
    char hex[BLOB_TEXT];
    size_t namesakes = 0;
    for (size_t i = 0; i < models->n_models && !found; i++) {
        uint8_t id[BLOB_ID];
        manifest_id(models->models[i]->manifest, id);
        blob_format(id, hex);
        if (wire_is(*value, hex, strlen(hex)))
            found = models->models[i];
    }
    if (!found)
        return;
    ProtobufCBinaryData called = found->manifest->name;
    for (size_t i = 0; i < models->n_models; i++)
        namesakes += same(models->models[i]->manifest->name, called);
    char *name = wire_string(called);
    free(value->data);
    value->data = (uint8_t *)(namesakes > 1 ? path_format("%s %.8s", name, hex)
                                            : path_format("%s", name));
    value->len = strlen((char *)value->data);
    free(name);
}

Farm__Job *model_names_in(const Farm__Job *job, struct session *session,
                          struct error *error)
{
    struct message answer = {0};
    if (!ask_models(session, &answer, error))
        return NULL;
    const Farm__Models *models = answer.envelope->models;
    Farm__Job *copy = wire_copy(&job->base);
    for (size_t i = 0; i < copy->n_settings; i++)
        if (wire_is(copy->settings[i]->name, "model", 5))
            put_name(&copy->settings[i]->value, models);
    for (size_t i = 0; i < copy->n_axes; i++)
        for (size_t j = 0; j < copy->axes[i]->n_values; j++)
            if (wire_is(copy->axes[i]->name, "model", 5))
                put_name(&copy->axes[i]->values[j], models);
    message_clear(&answer);
    return copy;
}
