#include "coordinator/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/path.h"
#include "coordinator/store.h"
#include "proto/files/blob.h"
#include "proto/places.h"

enum { LIST_LIMIT = 1 << 20 };

#define LIST "MANIFEST"

/* Besides the database and the blobs. The signing key is missing in older state folders. */
static const struct {
    const char *name;
    bool needed;
} files[] = {{"server.key", true}, {"signing.key", false}, {"audit.log", false}};

/* Copies through a temporary name, durably; the mode is 0600. */
static bool copy_file(const char *from, const char *to, struct error *error)
{
    struct buffer text = {0};
    bool ok = path_read(from, SIZE_MAX / 2, &text, error) &&
              path_write(to, text.data ? text.data : (const uint8_t *)"", text.size,
                         0600, error);
    buffer_clear(&text);
    return ok;
}

static bool list_file(const char *folder, const char *name, struct buffer *list,
                      struct error *error)
{
    uint8_t id[BLOB_ID];
    uint64_t size;
    char hex[BLOB_TEXT], *path = path_format("%s/%s", folder, name);
    bool ok = blob_id_of_file(path, id, &size, error);
    free(path);
    if (!ok)
        return false;
    blob_format(id, hex);
    return buffer_printf(list, error, "%s %" PRIu64 " %s\n", hex, size, name);
}

struct copying {
    struct blob_store *from, *to;
    uint64_t count, bytes;
    struct error *error;
    bool ok;
};

static void copy_blob(void *context, const uint8_t id[BLOB_ID], uint64_t size)
{
    struct copying *self = context;
    char *path = blob_path(self->from, id);
    if (self->ok && !blob_has(self->to, id, NULL))
        self->ok = blob_import(self->to, path, id, self->error);
    self->count++;
    self->bytes += size;
    free(path);
}

static bool copy_blobs(const char *state, const char *folder, struct store *store,
                       struct copying *copying, struct error *error)
{
    char *from = path_format("%s/blobs", state), *to = path_format("%s/blobs", folder);
    *copying = (struct copying){.error = error, .ok = true};
    bool ok = (copying->from = blob_store_open(from, error)) &&
              (copying->to = blob_store_open(to, error)) &&
              store_blobs(store, copy_blob, copying, error) && copying->ok &&
              blob_store_sync(copying->to, error);
    blob_store_close(&copying->from);
    blob_store_close(&copying->to);
    free(from);
    free(to);
    return ok;
}

static bool needs_folder(const struct coordinator_settings *settings,
                         struct error *error)
{
    return settings->backup[0] ||
           error_set_kind(error, ERROR_INPUT, "name the backup's folder with --folder");
}

static bool copy_others(const char *state, const char *folder, struct buffer *list,
                        struct error *error)
{
    bool ok = true;
    for (size_t f = 0; ok && f < sizeof files / sizeof files[0]; f++) {
        char *from = path_format("%s/%s", state, files[f].name);
        char *to = path_format("%s/%s", folder, files[f].name);
        if (files[f].needed || access(from, F_OK) == 0)
            ok = copy_file(from, to, error) &&
                 list_file(folder, files[f].name, list, error);
        free(from);
        free(to);
    }
    return ok;
}

bool backup_make(const struct coordinator_settings *settings, struct error *error)
{
    const char *folder = settings->backup;
    char *gate = path_format("%s/gc.lock", settings->state);
    char *list_path = path_format("%s/" LIST, folder);
    char *from = path_format("%s/farm.db", settings->state);
    char *to = path_format("%s/farm.db", folder);
    struct buffer list = {0};
    struct copying copying = {0};
    struct store *copy = NULL;
    int lock = -1;
    bool ok = needs_folder(settings, error) && path_make_folders(folder, 0700, error);
    if (ok && access(list_path, F_OK) == 0)
        ok = error_set_kind(error, ERROR_INPUT,
                            "%s holds a backup already; name another folder", folder);
    if (ok && access(from, F_OK) != 0)
        ok = error_set_kind(error, ERROR_NOT_FOUND,
                            "%s: there is no coordinator's state; name its folder with "
                            "--state",
                            settings->state);
    ok = ok && (lock = open(gate, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) >= 0 &&
         flock(lock, LOCK_SH) == 0 && store_backup(from, to, error);
    if (ok)
        fault_point("backup-after-database");
    ok = ok && (copy = store_open(to, true, error)) &&
         copy_blobs(settings->state, folder, copy, &copying, error);
    store_close(&copy);
    ok = ok && list_file(folder, "farm.db", &list, error) &&
         copy_others(settings->state, folder, &list, error) &&
         path_write(list_path, list.data, list.size, 0600, error);
    if (ok)
        printf("%s: the database, %" PRIu64 " files of %" PRIu64
               " bytes, keys and audit are in %s\n",
               settings->state, copying.count, copying.bytes, folder);
    if (lock >= 0)
        close(lock);
    buffer_clear(&list);
    free(to);
    free(from);
    free(list_path);
    free(gate);
    return ok;
}

/* Verifies and copies what a line of the list names; only names we write are taken. */
static bool restore_line(const char *line, const char *folder, const char *state,
                         struct error *error)
{
    char hex[BLOB_TEXT], name[32];
    uint64_t size, found_size;
    uint8_t id[BLOB_ID], found[BLOB_ID];
    if (sscanf(line, "%64s %" SCNu64 " %31s", hex, &size, name) != 3 ||
        !blob_parse(hex, id, NULL))
        return error_set_kind(error, ERROR_INPUT, "%s/" LIST ": a line is broken: %s",
                              folder, line);
    bool known = strcmp(name, "farm.db") == 0;
    for (size_t f = 0; f < sizeof files / sizeof files[0]; f++)
        known = known || strcmp(name, files[f].name) == 0;
    if (!known)
        return error_set_kind(error, ERROR_INPUT, "%s/" LIST " names \"%s\"", folder,
                              name);
    char *from = path_format("%s/%s", folder, name);
    char *to = path_format("%s/%s", state, name);
    bool ok = blob_id_of_file(from, found, &found_size, error);
    if (ok && (found_size != size || memcmp(found, id, BLOB_ID) != 0))
        ok = error_set_kind(error, ERROR_INPUT, "%s is not what was backed up: damaged",
                            from);
    ok = ok && copy_file(from, to, error);
    free(to);
    free(from);
    return ok;
}

struct restoring {
    struct blob_store *from, *to;
    uint64_t count, missing;
    struct error *error;
    bool ok;
};

/* What is missing or damaged in the backup is left out here, and told by the repair. */
static void restore_blob(void *context, const uint8_t id[BLOB_ID], uint64_t size)
{
    struct restoring *self = context;
    struct error why = {0};
    (void)size;
    char *path = blob_path(self->from, id);
    self->count++;
    if (!blob_has(self->to, id, NULL) && !blob_import(self->to, path, id, &why)) {
        self->missing++;
        if (why.kind == ERROR_BUSY) /* the disk is full: no reason to give results up */
            self->ok = error_set_kind(self->error, why.kind, "%s", why.text);
    }
    free(path);
}

static bool restore_blobs(const char *folder, const char *state, struct store *store,
                          struct restoring *restoring, struct error *error)
{
    char *from = path_format("%s/blobs", folder), *to = path_format("%s/blobs", state);
    *restoring = (struct restoring){.error = error, .ok = true};
    bool ok = (restoring->from = blob_store_open(from, error)) &&
              (restoring->to = blob_store_open(to, error)) &&
              store_blobs(store, restore_blob, restoring, error) && restoring->ok &&
              blob_store_sync(restoring->to, error);
    blob_store_close(&restoring->from);
    blob_store_close(&restoring->to);
    free(from);
    free(to);
    return ok;
}

static bool restore_list(const char *folder, const char *state, struct error *error)
{
    struct buffer list = {0};
    char *path = path_format("%s/" LIST, folder), *rest = NULL;
    bool ok = path_read(path, LIST_LIMIT, &list, error);
    if (!ok)
        error_prefix(error, "no whole backup");
    for (char *line = ok ? strtok_r((char *)(uintptr_t)buffer_text(&list), "\n", &rest)
                         : NULL;
         ok && line; line = strtok_r(NULL, "\n", &rest))
        ok = restore_line(line, folder, state, error);
    buffer_clear(&list);
    free(path);
    return ok;
}

bool backup_restore(const struct coordinator_settings *settings, struct error *error)
{
    const char *state = settings->state;
    char *database = path_format("%s/farm.db", state);
    struct store *store = NULL;
    struct restoring restoring = {0};
    bool ok = needs_folder(settings, error) && path_make_folders(state, 0700, error);
    if (ok && access(database, F_OK) == 0)
        ok = error_set_kind(error, ERROR_INPUT,
                            "%s holds a farm; restore into a folder of its own", state);
    ok = ok && restore_list(settings->backup, state, error) &&
         (store = store_open(database, true, error)) &&
         restore_blobs(settings->backup, state, store, &restoring, error);
    store_close(&store);
    if (ok)
        printf("%s: restored, %" PRIu64 " of %" PRIu64 " files are here\n", state,
               restoring.count - restoring.missing, restoring.count);
    free(database);
    return ok && backup_repair(settings, error);
}

struct looking {
    struct blob_store *blobs;
    struct buffer missing; /* ids */
    uint64_t damaged;
};

static void look_at(void *context, const uint8_t id[BLOB_ID], uint64_t size)
{
    struct looking *self = context;
    uint8_t found[BLOB_ID];
    uint64_t found_size = 0;
    char *path = blob_path(self->blobs, id);
    bool here = access(path, F_OK) == 0;
    bool whole = here && blob_id_of_file(path, found, &found_size, NULL) &&
                 found_size == size && memcmp(found, id, BLOB_ID) == 0;
    if (here && !whole) {
        self->damaged++;
        unlink(path); /* nothing may take it for what its name says */
    }
    if (!whole)
        buffer_append(&self->missing, id, BLOB_ID, NULL);
    free(path);
}

bool backup_repair(const struct coordinator_settings *settings, struct error *error)
{
    char *lock_path = path_format("%s/" PLACE_LOCK, settings->state);
    char *database = path_format("%s/farm.db", settings->state);
    char *blobs = path_format("%s/blobs", settings->state);
    struct looking looking = {0};
    struct store *store = NULL;
    struct store_repaired repaired = {0};
    int lock = path_lock(lock_path, false, error);
    bool ok = lock >= 0 && (store = store_open(database, true, error)) &&
              (looking.blobs = blob_store_open(blobs, error)) &&
              store_blobs(store, look_at, &looking, error) &&
              store_repair(store, (const uint8_t(*)[BLOB_ID])looking.missing.data,
                           looking.missing.size / BLOB_ID, &repaired, error);
    if (ok && looking.missing.size)
        printf("%zu files are missing, %" PRIu64 " of them were damaged: %" PRIu64
               " tasks are ready again, %" PRIu64
               " models are to be added again (farmctl model add)\n",
               looking.missing.size / BLOB_ID, looking.damaged, repaired.tasks,
               repaired.models);
    else if (ok)
        printf("%s: nothing is missing\n", settings->state);
    blob_store_close(&looking.blobs);
    buffer_clear(&looking.missing);
    store_close(&store);
    if (lock >= 0)
        close(lock);
    free(blobs);
    free(database);
    free(lock_path);
    return ok;
}
