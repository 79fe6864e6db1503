/* Files that nothing names, and files that are not what their name says. The janitor finds
 * them; here, where everything that is decided is known, they go. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/log.h"
#include "base/path.h"
#include "coordinator/coordinator.h"
#include "coordinator/janitor.h"

enum { ROUND_S = 3600, DAY_S = 86400, TAKEN_A_TURN = 64 };

void garbage_start(struct coordinator *self)
{
    const struct coordinator_settings *settings = self->settings;
    int64_t grace_s = settings->grace_h * 3600;
    self->janitor = janitor_new(&(struct janitor_options){
        .state = self->state,
        .grace_s = grace_s,
        .scrub_s = settings->scrub_days * DAY_S,
        .round_s = grace_s && grace_s < ROUND_S ? grace_s
                   : grace_s                    ? ROUND_S
                                                : 1,
    });
}

/* A model that is not whole yet names files that have no row. */
static bool is_of_a_model(const struct coordinator *self, const uint8_t id[BLOB_ID])
{
    for (const struct model *m = zhashx_first(self->models.by_id); m;
         m = zhashx_next(self->models.by_id))
        for (size_t f = 0; f < m->manifest->n_files; f++)
            if (memcmp(m->manifest->files[f]->blob.data, id, BLOB_ID) == 0)
                return true;
    return false;
}

void garbage_remove(struct coordinator *self, const uint8_t id[BLOB_ID])
{
    if (!is_of_a_model(self, id) && !recent_names(&self->recent, id) &&
        !store_has_blob(self->store, id) && !checkpoints_name(&self->checkpoints, id) &&
        blob_remove(self->blobs, id, NULL)) {
        synced_forget(&self->synced, id);
        depot_named(self->depot, id);
    }
}

static void remove_old(struct coordinator *self, const uint8_t id[BLOB_ID])
{
    char *path = blob_path(self->blobs, id);
    if (janitor_is_old(path, self->settings->grace_h * 3600)) {
        garbage_remove(self, id);
        if (!blob_has(self->blobs, id, NULL))
            log_info("%s: nothing named it any more", path);
    }
    free(path);
}

/* It is not served again: whoever needs it is told that it is not here, which a model that
 * is added again and a task that is rendered again mend. */
static void set_aside(struct coordinator *self, const uint8_t id[BLOB_ID])
{
    char name[BLOB_TEXT];
    blob_format(id, name);
    char *path = blob_path(self->blobs, id);
    char *folder = path_format("%s/damaged", self->state);
    char *aside = path_format("%s/%s", folder, name);
    if (path_make_folders(folder, 0700, NULL) && rename(path, aside) == 0) {
        log_error("%s is damaged and was set aside in %s; stop the farm and repair it "
                  "with farm-coordinator --repair, or restore it from a backup",
                  path, folder);
        audit_write(self->audit, "damaged blob=%s", name);
        synced_forget(&self->synced, id);
        depot_named(self->depot, id);
    }
    free(aside);
    free(folder);
    free(path);
}

void garbage_take(struct coordinator *self)
{
    uint8_t id[BLOB_ID];
    bool damaged;
    int lock = -1;
    if (!self->janitor) /* a test does without */
        return;
    char *path = path_format("%s/gc.lock", self->state);
    for (int t = 0; t < TAKEN_A_TURN && janitor_found(self->janitor, id, &damaged);
         t++) {
        if (damaged) {
            set_aside(self, id);
            continue;
        }
        if (lock < 0)
            lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0)
            remove_old(self, id);
    }
    if (lock >= 0)
        close(lock);
    free(path);
}
