#include "tests/sim/spread.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "coordinator/handlers.h"
#include "proto/files/manifest.h"
#include "proto/files/transfer.h"
#include "worker/download.h"
#include "worker/serve.h"

enum {
    LOOK_MS = 200, /* as io.c waits */
    WAITING_MS = 20,
    IDLE_MS = 1000,
    AGAIN_MS = 5000, /* after a fetch that failed */
    GRANTS_MOST = 4096,
    POISON_PERCENT = 15,
};

/* A worker's I/O thread, as far as it is about models. */
struct fetch {
    struct keypair own;
    struct pieces *pieces;
    struct checkpoints *checkpoints;
    struct serve *serve;
    struct download *download;
    struct link *depot; /* NULL until it greeted */
    bool wanted, whole;
    int64_t next, again; /* its next turn; when it asks anew */
};

/* A grant that reached the one who serves. */
struct granted {
    uint32_t server, client;
    int64_t until;
};

static struct {
    Farm__Manifest *manifest;
    uint8_t id[32];
    uint8_t *bytes; /* of all files, one after the other */
    size_t file_size;
    char *folder;
    struct fetch *fetch[WORKERS_MOST];
    bool whole[WORKERS_MOST], poisons[WORKERS_MOST];
    struct granted granted[GRANTS_MOST];
    size_t grants;
} spread;

static void ask(uint32_t worker, Farm__Envelope__BodyCase name, void *body)
{
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = 1;
    envelope.body_case = name;
    envelope.have = body; /* any message's pointer: the union has one place */
    worker_says(worker, &envelope);
}

/* ---- the model */

static void add_file(Farm__Manifest *manifest, size_t number)
{
    Farm__ModelFile *file = malloc(sizeof *file);
    file->pieces = NULL;
    farm__model_file__init(file);
    const uint8_t *data = spread.bytes + number * spread.file_size;
    uint8_t blob[32], sha[32];
    char path[32];
    snprintf(path, sizeof path, "part%04zu", number);
    blob_id(data, spread.file_size, blob);
    crypto_hash_sha256(sha, data, spread.file_size);
    file->path = wire_own(wire_text(path));
    file->size = spread.file_size;
    file->blob = wire_own(wire_bytes(blob, 32));
    file->sha256 = wire_own(wire_bytes(sha, 32));
    file->pieces = malloc(sizeof *file->pieces);
    file->n_pieces = 1;
    file->pieces[0] = wire_own(wire_bytes(blob, 32));
    manifest->files[manifest->n_files++] = file;
}

void spread_furnish(struct change *change)
{
    const struct plan *plan = &world->plan;
    char folder[] = "/tmp/clfarm-sim-XXXXXX", shared[] = "/dev/shm/clfarm-sim-XXXXXX";
    char *made = mkdtemp(shared);
    made = made ? made : mkdtemp(folder);
    if (!made)
        abort();
    spread.folder = path_format("%s", made);
    spread.file_size = plan->file_size;
    spread.bytes = malloc(plan->files * plan->file_size);
    Farm__Manifest *manifest = spread.manifest = malloc(sizeof *manifest);
    if (!spread.bytes || !manifest)
        abort();
    randombytes_buf(spread.bytes, plan->files * plan->file_size);
    farm__manifest__init(manifest);
    manifest->name = wire_own(wire_text("spread"));
    manifest->kind = wire_own(wire_text("diffusers"));
    manifest->family = wire_own(wire_text("sd1"));
    manifest->reason = wire_own(wire_text("made up"));
    manifest->factor = 8;
    manifest->width = manifest->height = 64;
    manifest->files = calloc(plan->files, sizeof(Farm__ModelFile *));
    for (size_t f = 0; f < plan->files; f++)
        add_file(manifest, f);
    manifest_id(manifest, spread.id);
    size_t size;
    uint8_t *packed = wire_pack(&manifest->base, &size);
    struct model_row row = {.name = "spread",
                            .manifest = packed,
                            .manifest_size = size,
                            .complete = true,
                            .added = 1};
    memcpy(row.id, spread.id, 32);
    change_model(change, &row);
    free(packed);
    for (uint32_t w = 0; w + 1 < plan->workers; w++)
        spread.poisons[w] = plan->misfortune_s > 0 && chance_percent(POISON_PERCENT);
}

bool spread_truth(const uint8_t blob[32], uint64_t offset, void *into, size_t size)
{
    for (size_t f = 0; f < spread.manifest->n_files; f++) {
        if (memcmp(spread.manifest->files[f]->blob.data, blob, 32) != 0)
            continue;
        if (offset > spread.file_size || size > spread.file_size - offset)
            return false;
        memcpy(into, spread.bytes + f * spread.file_size + offset, size);
        return true;
    }
    return false;
}

/* ---- promises */

/* What is handed to the renderer is the model, byte by byte. */
static void check_files(const struct model_files *files)
{
    uint8_t *truth = malloc(spread.file_size + 1);
    for (size_t f = 0; truth && f < files->count; f++) {
        struct buffer found = {0};
        struct error error = {0};
        const Farm__ModelFile *file = spread.manifest->files[f];
        bool same =
            path_read(files->file[f].path, spread.file_size + 1, &found, &error) &&
            found.size == spread.file_size &&
            spread_truth(file->blob.data, 0, truth, found.size) &&
            memcmp(truth, found.data, found.size) == 0;
        if (!same)
            broken("a worker would use a file that is not the model's: %s", error.text);
        buffer_clear(&found);
    }
    free(truth);
}

static void forget_grants(uint32_t server, uint32_t client)
{
    for (size_t g = spread.grants; g-- > 0;)
        if (spread.granted[g].server == server &&
            (client == WORKERS_MOST || spread.granted[g].client == client))
            spread.granted[g] = spread.granted[--spread.grants];
}

void spread_gives(uint32_t from, uint32_t to, const Farm__Chunk *chunk, uint8_t *range,
                  size_t size)
{
    uint8_t truth[TRANSFER_FRAME];
    bool may = false;
    for (size_t g = 0; g < spread.grants; g++)
        may = may ||
              (spread.granted[g].server == from && spread.granted[g].client == to &&
               spread.granted[g].until > world->now);
    if (!may)
        broken("worker %u gave worker %u a range without a live grant", from, to);
    if (!spread_truth(chunk->blob.data, chunk->offset, truth, size) ||
        memcmp(truth, range, size) != 0)
        broken("worker %u gives on what it did not verify", from);
    if (spread.poisons[from])
        range[chance_below(size)] ^= 1;
}

bool spread_ended(void)
{
    for (uint32_t w = 0; world->plan.files && w < world->plan.workers; w++)
        if (!world->worker[w].dead && !spread.whole[w])
            return false;
    const struct plan *plan = &world->plan;
    size_t size = plan->files * plan->file_size;
    if (plan->misfortune_s <= 0 && plan->workers > 1 &&
        world->depot_sent > size * 13 / 10 + plan->file_size)
        broken("the coordinator sent %.2f copies",
               (double)world->depot_sent / (double)(size + 1));
    return true;
}

/* ---- a worker */

void spread_start(uint32_t worker)
{
    struct fetch *self = calloc(1, sizeof *self);
    struct error error = {0};
    int bound;
    if (!self)
        abort();
    memcpy(self->own.public_key, world->worker[worker].key, 32);
    char *folder = path_format("%s/%u", spread.folder, worker);
    self->pieces = pieces_open(folder, NULL, 0, &error);
    self->checkpoints = checkpoints_new(NULL);
    if (self->pieces)
        self->serve = serve_new(&self->own, "tcp://127.0.0.1", 0, self->pieces,
                                self->checkpoints, &bound, &error);
    if (!self->serve)
        broken("a worker's cache does not open: %s", error.text);
    self->download = download_new(self->pieces, &self->own);
    spread.fetch[worker] = self;
    free(folder);
}

void spread_stop(uint32_t worker)
{
    struct fetch *self = spread.fetch[worker];
    if (!self)
        return;
    download_destroy(&self->download);
    serve_destroy(&self->serve);
    pieces_close(&self->pieces);
    checkpoints_destroy(&self->checkpoints);
    link_close(&self->depot);
    free(self);
    spread.fetch[worker] = NULL;
    links_drop(worker);
    forget_grants(worker, WORKERS_MOST);
}

static void tell_whole(uint32_t worker)
{
    Farm__Have have = FARM__HAVE__INIT;
    have.model = wire_bytes(spread.id, 32);
    ask(worker, FARM__ENVELOPE__BODY_HAVE, &have);
}

void spread_greeted(uint32_t worker)
{
    struct fetch *self = spread.fetch[worker];
    struct error error = {0};
    if (!self)
        return;
    if (!self->depot) {
        char *address = path_format("depot:%d", SPREAD_PORT + WORKERS_MOST);
        struct link_options how = {.address = address, .own = &self->own};
        self->depot = link_open(&how, &error);
        free(address);
    }
    download_greeted(self->download);
    if (self->whole)
        tell_whole(worker);
    else if (!self->wanted)
        self->wanted = download_want(self->download, spread.id, &error);
    spread_turn(worker);
}

static void say_have(uint32_t worker, const struct io_event *news)
{
    ProtobufCBinaryData bad[PEERS_MOST];
    Farm__Have have = FARM__HAVE__INIT;
    have.model = wire_bytes(news->model, 32);
    have.pieces = wire_bytes(news->bits.data, news->bits.size);
    have.fetching = news->fetching;
    have.starved = news->starved;
    have.bad = bad;
    for (size_t b = 0; b < news->bads; b++)
        bad[have.n_bad++] = wire_bytes(news->bad[b], 32);
    ask(worker, FARM__ENVELOPE__BODY_HAVE, &have);
}

static void take_news(uint32_t worker, struct fetch *self, const struct io_event *news)
{
    Farm__ModelGet get = FARM__MODEL_GET__INIT;
    get.id = wire_bytes(spread.id, 32);
    switch (news->kind) {
    case IO_MANIFEST_WANTED:
        ask(worker, FARM__ENVELOPE__BODY_MODEL_GET, &get);
        break;
    case IO_HAVE:
        say_have(worker, news);
        break;
    case IO_MODEL:
        check_files(&news->files);
        self->whole = spread.whole[worker] = true;
        tell_whole(worker);
        break;
    default:
        self->again = world->now + AGAIN_MS;
    }
}

static void take_grant(uint32_t worker, const struct fetch *self,
                       const Farm__Grant *grant)
{
    struct error error = {0};
    Farm__Granted granted = FARM__GRANTED__INIT;
    granted.id = grant->id;
    int64_t until = world->now + (int64_t)grant->lasts_s * 1000;
    granted.refused =
        !serve_grant(self->serve, grant->key.data, grant->model.data, until, &error);
    struct granted one = {.server = worker, .until = until};
    memcpy(&one.client, grant->key.data + 1, sizeof one.client);
    forget_grants(worker, one.client);
    if (!granted.refused && spread.grants < GRANTS_MOST)
        spread.granted[spread.grants++] = one;
    ask(worker, FARM__ENVELOPE__BODY_GRANTED, &granted);
}

bool spread_hears(uint32_t worker, const Farm__Envelope *envelope)
{
    struct fetch *self = spread.fetch[worker];
    struct error error = {0};
    uint32_t client;
    if (!self)
        return false;
    switch (envelope->body_case) {
    case FARM__ENVELOPE__BODY_MANIFEST:
        download_manifest(self->download, spread.id, envelope->manifest, &error);
        break;
    case FARM__ENVELOPE__BODY_PEERS:
        download_peers(self->download, envelope->peers, world->now);
        break;
    case FARM__ENVELOPE__BODY_GRANT:
        take_grant(worker, self, envelope->grant);
        break;
    case FARM__ENVELOPE__BODY_GRANT_END:
        memcpy(&client, envelope->grant_end->key.data + 1, sizeof client);
        serve_end(self->serve, envelope->grant_end->key.data);
        forget_grants(worker, client);
        break;
    default:
        return false;
    }
    spread_turn(worker);
    return true;
}

static void turn_again(uint32_t worker, struct fetch *self)
{
    int64_t in_ms = download_works(self->download)  ? 1
                    : serve_is_waiting(self->serve) ? WAITING_MS
                    : self->wanted && !self->whole  ? LOOK_MS
                                                    : IDLE_MS;
    if (self->next > world->now && self->next <= world->now + in_ms)
        return;
    self->next = world->now + in_ms;
    happen(in_ms, EVENT_FETCH, worker, world->worker[worker].life);
}

void spread_turn(uint32_t worker)
{
    struct fetch *self = spread.fetch[worker];
    struct message message = {0};
    struct error error = {0};
    if (!self || world->wrong)
        return;
    enum link_event event;
    while (self->depot && (event = link_step(self->depot, world->now, &message))) {
        if (event == LINK_REOPENED)
            download_restart(self->download);
        else if (message.envelope->body_case == FARM__ENVELOPE__BODY_CHUNK)
            download_chunk(self->download, &message, world->now);
        message_clear(&message);
    }
    serve_step(self->serve, world->now);
    zmq_pollitem_t items[PEERS_ITEMS];
    size_t count = download_poll(self->download, items);
    for (size_t i = 0; i < count; i++)
        items[i].revents = ZMQ_POLLIN;
    download_polled(self->download, items);
    if (self->again && world->now >= self->again) {
        self->again = 0;
        download_want(self->download, spread.id, &error);
    }
    struct io_event news;
    while (download_next(self->download, self->depot, world->now, &news)) {
        take_news(worker, self, &news);
        io_event_clear(&news);
    }
    turn_again(worker, self);
}

void spread_close(void)
{
    for (uint32_t w = 0; w < WORKERS_MOST; w++)
        spread_stop(w);
    links_clear();
    manifest_destroy(&spread.manifest);
    free(spread.bytes);
    if (spread.folder)
        path_remove_tree(spread.folder);
    free(spread.folder);
    memset(&spread, 0, sizeof spread);
}

uint32_t spread_server(const zsock_t *socket)
{
    for (uint32_t w = 0; socket && w < world->plan.workers; w++)
        if (spread.fetch[w] && serve_socket(spread.fetch[w]->serve) == socket)
            return w;
    return WORKERS_MOST;
}

/* ---- misfortunes */

void spread_lie(uint32_t worker, uint32_t of)
{
    if (!spread.fetch[worker] || worker == of)
        return;
    struct error error = {0};
    char *address = path_format("worker:%u", SPREAD_PORT + of);
    struct link_options how = {.address = address, .own = &spread.fetch[worker]->own};
    struct link *link = link_open(&how, &error);
    const Farm__ModelFile *file =
        spread.manifest->files[chance_below(spread.manifest->n_files)];
    Farm__Want want = FARM__WANT__INIT;
    want.blob = file->blob;
    want.length = (uint32_t)(file->size < TRANSFER_FRAME ? file->size : TRANSFER_FRAME);
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_WANT;
    envelope.want = &want;
    link_send(link, &envelope, NULL, 0, &error);
    free(address);
}

void spread_revoke(uint32_t worker)
{
    if (!world->coordinator)
        return;
    swarm_revoke(world->coordinator, world->worker[worker].key);
    coordinator_turn_now();
}
