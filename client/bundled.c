#include "client/bundled.h"

#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "client/ask.h"
#include "client/import.h"
#include "proto/files/manifest.h"

char *bundled_programs(void)
{
    char own[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", own, sizeof own - 1);
    own[size < 0 ? 0 : size] = 0;
    return path_format("%s", dirname(own));
}

static bool holds_model(const char *folder)
{
    char *index = path_format("%s/model_index.json", folder);
    bool there = access(index, F_OK) == 0;
    free(index);
    return there;
}

/* Where the bundled model lies: beside an installation, or in the source tree. */
static char *bundled_folder(void)
{
    char *programs = bundled_programs();
    char *folder = path_format("%s/../share/clfarm/models/" BUNDLED_MODEL, programs);
    if (!holds_model(folder)) {
        free(folder);
        folder = path_format("%s/" BUNDLED_MODEL, FARM_MODELS_DIR);
    }
    free(programs);
    return folder;
}

bool bundled_import(struct session *session, bool quiet, struct error *error)
{
    struct message answer = {0};
    if (!ask_models(session, &answer, error))
        return false;
    bool known = false;
    const Farm__Models *models = answer.envelope->models;
    for (size_t i = 0; i < models->n_models; i++)
        known = known || (models->models[i]->complete &&
                          !manifest_is_input(models->models[i]->manifest) &&
                          wire_is(models->models[i]->manifest->name, BUNDLED_MODEL,
                                  strlen(BUNDLED_MODEL)));
    message_clear(&answer);
    char *folder = bundled_folder(), id[BLOB_TEXT];
    bool ok = known || !holds_model(folder) ||
              model_import(session, folder, BUNDLED_MODEL, quiet, id, error);
    free(folder);
    return ok;
}
