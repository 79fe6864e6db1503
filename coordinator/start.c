/* How a coordinator comes up and goes down. The order matters: the lock before anything is
 * read, the gate before anything is bound, the address file last. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/path.h"
#include "coordinator/addresses.h"
#include "coordinator/coordinator.h"
#include "coordinator/handlers.h"
#include "coordinator/janitor.h"
#include "coordinator/load.h"
#include "coordinator/parked.h"
#include "coordinator/swarm.h"
#include "proto/places.h"

enum { CONTROL_QUEUE = 1000, BULK_QUEUE = 16, FILES_LEAST = 16384 };

static char *in_state(const struct coordinator *self, const char *name)
{
    return path_format("%s/%s", self->state, name);
}

static bool lock_state(struct coordinator *self, struct error *error)
{
    char *path = in_state(self, PLACE_LOCK);
    struct error why = {0};
    bool ok = path_make_folders(self->state, 0700, error);
    if (ok && (self->lock = path_lock(path, false, &why)) < 0) {
        ok = why.kind == ERROR_BUSY
                 ? error_set_kind(error, ERROR_BUSY,
                                  "another coordinator uses %s; stop it, or give this "
                                  "one another --state",
                                  self->state)
                 : error_set(error, "%s", why.text);
    }
    free(path);
    return ok;
}

/* Signals come as data to the loop; no actor's call is interrupted. */
static bool take_signals(struct coordinator *self, struct error *error)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    zsys_init();
    zsys_handler_set(NULL);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    self->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return self->signals >= 0 || error_set(error, "signalfd: %s", strerror(errno));
}

static void raise_limits(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= FILES_LEAST)
        return;
    files.rlim_cur = files.rlim_max < FILES_LEAST ? files.rlim_max : FILES_LEAST;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur < FILES_LEAST)
        log_warn("only %llu open files are allowed here: few more workers can connect",
                 (unsigned long long)files.rlim_cur);
}

/* The server's keys are made once: tokens, members and pictures know them for ever. */
static bool load_keys(struct coordinator *self, struct error *error)
{
    char *server = in_state(self, "server.key"),
         *signing = in_state(self, "signing.key");
    bool ok = keypair_keep(&self->server, server, error) &&
              signer_keep(&self->signer, signing, error);
    free(signing);
    free(server);
    return ok;
}

static void name_farm(struct coordinator *self)
{
    char host[64] = "farm";
    gethostname(host, sizeof host - 1);
    snprintf(self->farm, sizeof self->farm, "%s",
             self->settings->farm[0] ? self->settings->farm : host);
}

/* The audit begins after the database was made: with the one and without the other, a new
 * database would be a new farm that has forgotten all jobs and members. */
static bool check_database(const struct coordinator *self, const char *path,
                           struct error *error)
{
    struct stat database = {0}, audit = {0};
    char *audit_path = in_state(self, "audit.log");
    bool ran = stat(audit_path, &audit) == 0 && audit.st_size > 0;
    bool ok = !ran || (stat(path, &database) == 0 && database.st_size > 0) ||
              error_set(error,
                        "%s is gone or empty, but %s says that this farm ran before; "
                        "restore the state folder from a backup, or begin a new farm "
                        "with another --state",
                        path, audit_path);
    free(audit_path);
    return ok;
}

static bool start_store(struct coordinator *self, struct error *error)
{
    char *path = in_state(self, "farm.db");
    bool ok = check_database(self, path, error);
    self->store = ok ? store_open(path, false, error) : NULL;
    ok = self->store && store_begin(self->store, clock_unix(), &self->epoch, error);
    if (ok) {
        self->queue = queue_new(self->epoch, self->settings->lease_ms);
        ok = load_all(self, error);
    }
    char *blobs = in_state(self, "blobs");
    ok = ok && (self->blobs = blob_store_open(blobs, error)) != NULL;
    if (ok && (self->blob_folder = open(blobs, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        ok = error_set(error, "%s: %s", blobs, strerror(errno));
    ok = ok && (self->scribe = store_actor_new(path, self->blob_folder, error)) != NULL;
    free(blobs);
    free(path);
    return ok;
}

static bool start_gate(struct coordinator *self, struct error *error)
{
    size_t count = 0;
    uint8_t(*keys)[GATE_KEY] =
        calloc(zhashx_size(self->members.by_key) + 1, sizeof *keys);
    if (!keys)
        abort();
    int64_t unix_now = clock_unix();
    zlistx_t *members = zhashx_values(self->members.by_key);
    for (struct member *m = zlistx_first(members); m; m = zlistx_next(members))
        if (members_role(&self->members, m->key, unix_now) != FARM__ROLE__ROLE_NONE)
            memcpy(keys[count++], m->key, GATE_KEY);
    zlistx_destroy(&members);
    self->gate = gate_new((const uint8_t(*)[GATE_KEY])keys, count, error);
    free(keys);
    return self->gate != NULL;
}

bool coordinator_open_control(struct coordinator *self, struct error *error)
{
    struct door_options control = {.bind = self->settings->bind,
                                   .port = self->port ? self->port
                                                      : (int)self->settings->port,
                                   .limit = WIRE_CONTROL_LIMIT,
                                   .high_water = CONTROL_QUEUE,
                                   .thread = 0};
    self->control = door_open(&control, &self->server, &self->port, error);
    if (self->control)
        limits_door_init(&self->door, self->control);
    return self->control != NULL;
}

static bool open_doors(struct coordinator *self, struct error *error)
{
    const struct coordinator_settings *settings = self->settings;
    struct door_options bulk = {.bind = settings->bind,
                                .port = (int)settings->bulk_port,
                                .limit = WIRE_BULK_LIMIT,
                                .high_water = BULK_QUEUE,
                                .thread = 1};
    if (!coordinator_open_control(self, error))
        return false;
    const struct depot_limits limits = {
        .reserve = (uint64_t)settings->reserve_mib << 20,
        .worker_quota = (uint64_t)settings->worker_mib << 20,
        .submit_quota = (uint64_t)settings->submit_mib << 20};
    self->depot = depot_new(&bulk, &self->server, self->blobs, self->state, &limits,
                            &self->bulk_port, error);
    if (!self->depot)
        return false;
    for (struct member *m = zhashx_first(self->members.by_key); m;
         m = zhashx_next(self->members.by_key))
        if (m->role != FARM__ROLE__ROLE_JOIN && !m->revoked)
            depot_role(self->depot, m->key, m->role);
    for (struct model *m = zhashx_first(self->models.by_id); m;
         m = zhashx_next(self->models.by_id))
        if (!m->complete)
            models_expect(self, m);
    return true;
}

/* What tokens will name must be addresses from the start. */
static bool check_addresses(const struct coordinator *self, struct error *error)
{
    struct token named;
    return addresses_list(self->settings->bind, self->settings->advertise, self->port,
                          &named, error);
}

/* Which key STATE/admin.token is for, if there is one. */
static void find_admin_token(struct coordinator *self)
{
    struct buffer text = {0};
    struct token token;
    struct keypair pair;
    char *path = in_state(self, PLACE_ADMIN_TOKEN);
    if (path_read(path, TOKEN_TEXT, &text, NULL) &&
        token_parse(buffer_text(&text), &token, NULL)) {
        keypair_from_secret(&pair, token.join_secret);
        memcpy(self->admin_token, pair.public_key, KEY_SIZE);
        keypair_wipe(&pair);
    }
    buffer_clear(&text);
    free(path);
}

/* A token that names other ports than today's is of no use to this host's farmctl. */
static bool offer_admin(struct coordinator *self, struct error *error)
{
    find_admin_token(self);
    if (members_count(&self->members, FARM__ROLE__ROLE_ADMIN, true, clock_unix()))
        return true;
    return admin_token_make(self, error);
}

static bool write_address(const struct coordinator *self, struct error *error)
{
    char key[KEY_TEXT];
    key_format(self->server.public_key, key);
    const char *host = self->settings->bind;
    bool everywhere =
        strcmp(host, "tcp://0.0.0.0") == 0 || strcmp(host, "tcp://*") == 0;
    char *text =
        path_format("%s:%d\n%s\n%s\n%d\n%ld\n", everywhere ? "tcp://127.0.0.1" : host,
                    self->port, key, self->farm, self->bulk_port, (long)getpid());
    char *path = in_state(self, PLACE_ADDRESS);
    bool ok = path_write(path, text, strlen(text), 0644, error);
    free(path);
    free(text);
    return ok;
}

static bool load_deny(struct coordinator *self, struct error *error)
{
    const char *path = self->settings->deny;
    self->deny = *path ? deny_open(path, error) : NULL;
    if (self->deny)
        log_info("the deny list %s is on: %zu rules", path, deny_count(self->deny));
    return self->deny || !*path;
}

static bool start(struct coordinator *self, struct error *error)
{
    char *audit = in_state(self, "audit.log");
    bool ok = lock_state(self, error) && take_signals(self, error) &&
              load_keys(self, error) && load_deny(self, error) &&
              start_store(self, error) && (self->audit = audit_open(audit, error)) &&
              start_gate(self, error) && open_doors(self, error) &&
              check_addresses(self, error) && offer_admin(self, error) &&
              write_address(self, error);
    if (ok)
        garbage_start(self);
    free(audit);
    return ok;
}

struct coordinator *coordinator_new(const struct coordinator_settings *settings,
                                    struct error *error)
{
    struct coordinator *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    zsys_set_io_threads(2);
    zsys_set_pipehwm(0);
    raise_limits();
    self->settings = settings;
    self->state = path_format("%s", settings->state);
    self->lock = self->blob_folder = self->signals = -1;
    self->now = clock_ms();
    name_farm(self);
    registry_init(&self->registry, settings->suspect_ms);
    members_init(&self->members);
    models_init(&self->models);
    recent_init(&self->recent);
    checkpoints_init(&self->checkpoints);
    synced_init(&self->synced);
    self->swarm = swarm_new();
    shares_init(&self->shares);
    self->events = events_new(tell_event, tell_snapshot, self);
    self->outbox = outbox_new();
    self->parked = parked_new();
    self->change = change_new();
    if (!start(self, error)) {
        coordinator_destroy(&self);
        return NULL;
    }
    log_info("farm %s listens on %s:%d and :%d, epoch %llu", self->farm, settings->bind,
             self->port, self->bulk_port, (unsigned long long)self->epoch);
    return self;
}

static void destroy_queue(struct coordinator *self)
{
    if (!self->queue)
        return;
    for (struct queue_job *job = zhashx_first(self->queue->jobs); job;
         job = zhashx_next(self->queue->jobs)) {
        struct job *own = job->tag;
        job_destroy(&own);
    }
    queue_destroy(&self->queue);
}

static void close_file(int file)
{
    if (file >= 0)
        close(file);
}

void coordinator_destroy(struct coordinator **self_p)
{
    struct coordinator *self = *self_p;
    if (!self)
        return;
    struct error error = {0};
    janitor_destroy(&self->janitor);
    limits_door_clear(&self->door);
    zsock_destroy(&self->control);
    depot_destroy(&self->depot);
    gate_destroy(&self->gate);
    store_actor_destroy(&self->scribe);
    if (self->store && !store_end(self->store, &error))
        log_error("%s", error.text);
    store_close(&self->store);
    blob_store_close(&self->blobs);
    audit_close(&self->audit);
    deny_close(&self->deny);
    models_imports_clear(self);
    destroy_queue(self);
    registry_clear(&self->registry);
    members_clear(&self->members);
    models_clear(&self->models);
    recent_clear(&self->recent);
    checkpoints_clear(&self->checkpoints);
    synced_clear(&self->synced);
    swarm_destroy(&self->swarm);
    shares_clear(&self->shares);
    events_destroy(&self->events);
    outbox_destroy(&self->outbox);
    parked_destroy(&self->parked);
    change_destroy(&self->change);
    keypair_wipe(&self->server);
    signer_wipe(&self->signer);
    close_file(self->signals);
    close_file(self->blob_folder);
    close_file(self->lock);
    free(self->state);
    free(self);
    *self_p = NULL;
}

struct checking {
    struct blob_store *blobs;
    size_t count;
    struct error *error;
    bool ok;
};

static void check_blob(void *context, const uint8_t id[32], uint64_t size)
{
    struct checking *checking = context;
    uint8_t found[BLOB_ID];
    uint64_t found_size;
    char name[BLOB_TEXT];
    char *path = blob_path(checking->blobs, id);
    checking->count++;
    blob_format(id, name);
    if (checking->ok && (!blob_id_of_file(path, found, &found_size, checking->error) ||
                         memcmp(found, id, BLOB_ID) != 0 || found_size != size))
        checking->ok = error_set(checking->error,
                                 "blob %s is missing or damaged; remove %s and restore "
                                 "it from a backup, add its model again, or render its "
                                 "task again with --force",
                                 name, path);
    free(path);
}

bool coordinator_check(const struct coordinator_settings *settings, struct error *error)
{
    struct coordinator self = {.state = settings->state, .lock = -1};
    char *database = in_state(&self, "farm.db"), *audit = in_state(&self, "audit.log");
    char *blobs = in_state(&self, "blobs");
    struct checking checking = {.error = error, .ok = true};
    struct audit_chain chain;
    bool ok = access(database, F_OK) == 0 ||
              error_set_kind(error, ERROR_NOT_FOUND,
                             "%s: there is no coordinator's state; name its folder "
                             "with --state",
                             settings->state);
    ok = ok && lock_state(&self, error) && check_database(&self, database, error) &&
         (self.store = store_open(database, true, error)) &&
         (checking.blobs = blob_store_open(blobs, error)) &&
         store_blobs(self.store, check_blob, &checking, error) && checking.ok &&
         audit_check(audit, &chain, error);
    if (ok)
        printf("%s: the database, %zu files and the audit are sound\n", settings->state,
               checking.count);
    store_close(&self.store);
    blob_store_close(&checking.blobs);
    close_file(self.lock);
    free(blobs);
    free(audit);
    free(database);
    return ok;
}
