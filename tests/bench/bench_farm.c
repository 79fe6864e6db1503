/* Tasks a second through a whole farm, rendering aside.
 *
 *     bench_farm [--workers 500] [--tasks 20000] [--blob 16384] [--state DIR] [--json]
 *                [--kill] COORDINATOR
 *
 * Starts the real coordinator on loopback and, in this process, that many workers: two CURVE
 * connections each, the real messages, everything but the picture. Each task is assigned,
 * its blob (distinct, or with --blob 0 one that is there already) offered on the bulk link,
 * hashed, synced, committed and answered. --kill ends the coordinator by SIGKILL after the
 * last answer, starts it again and counts what it remembers.
 */
#include <getopt.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/path.h"
#include "proto/files/manifest.h"
#include "proto/join.h"
#include "proto/places.h"
#include "proto/wire.h"
#include "tests/bench/farm_peers.h"

enum { CREDIT = 2, HEARTBEAT_MS = 2000, START_MS = 20000, HELD_MOST = 2 * CREDIT };

struct worker {
    zsock_t *control, *bulk;
    uint32_t index;
    Farm__Commit *held[HELD_MOST]; /* packed again when its blob is stored */
    size_t holds;
    int64_t ready_us; /* when credit was last sent with nothing held */
};

struct bench {
    const char *coordinator;
    char *state;
    size_t workers, tasks, blob;
    bool json, kill_it;
    pid_t process;
    char address[128];
    uint8_t server_key[KEY_SIZE];
    uint32_t bulk_port;
    struct keypair admin_key, worker_key;
    zsock_t *admin;
    uint64_t request;
    uint8_t model[BLOB_ID], stored[BLOB_ID];
    struct worker *worker;
    size_t committed;
    double *wait_ms; /* credit sent -> Assign, first of each worker aside */
    size_t waits;
};

static void die(const char *what, const struct error *error)
{
    fprintf(stderr, "bench_farm: %s: %s\n", what, error ? error->text : "failed");
    exit(1);
}

/* ---- the coordinator */

static void start_coordinator(struct bench *self)
{
    char *file = path_format("%s/" PLACE_ADDRESS, self->state);
    unlink(file);
    self->process = fork();
    if (self->process == 0) {
        execl(self->coordinator, self->coordinator, "--state", self->state, "--bind",
              "tcp://127.0.0.1", "--port", "0", "--bulk-port", "0", "--log", "warn",
              (char *)NULL);
        _exit(127);
    }
    int64_t until = clock_ms() + START_MS;
    struct buffer text = {0};
    while (!path_read(file, 4096, &text, NULL)) {
        if (clock_ms() > until || waitpid(self->process, NULL, WNOHANG) != 0)
            die(self->coordinator, NULL);
        usleep(10000);
    }
    char key[64];
    if (sscanf(buffer_text(&text), "%127s %63s", self->address, key) != 2 ||
        !key_parse(key, self->server_key, NULL))
        die(file, NULL);
    buffer_clear(&text);
    free(file);
}

static zsock_t *connect_to(struct bench *self, const struct keypair *key,
                           const char *address)
{
    zsock_t *socket = zsock_new(ZMQ_DEALER);
    zsock_set_curve_serverkey_bin(socket, self->server_key);
    zsock_set_curve_publickey_bin(socket, key->public_key);
    zsock_set_curve_secretkey_bin(socket, key->secret_key);
    zsock_set_linger(socket, 0);
    if (zsock_connect(socket, "%s", address) != 0)
        die(address, NULL);
    return socket;
}

static void send_to(zsock_t *socket, Farm__Envelope *envelope, const void *payload,
                    size_t size)
{
    struct error error;
    if (!wire_send(socket, NULL, envelope, payload, size, &error))
        die("sending", &error);
}

/* Sends, waits, and gives the answer to the request; anything but `expected` ends it. */
static struct message ask(struct bench *self, zsock_t *socket, Farm__Envelope *envelope,
                          const void *payload, size_t size,
                          Farm__Envelope__BodyCase expected)
{
    envelope->request = ++self->request;
    send_to(socket, envelope, payload, size);
    zsock_set_rcvtimeo(socket, START_MS);
    zmq_pollitem_t item = {zsock_resolve(socket), 0, ZMQ_POLLIN, 0};
    struct message answer;
    struct error error = {.text = "no answer"};
    if (zmq_poll(&item, 1, START_MS) < 1 ||
        !wire_receive(socket, WIRE_CONTROL_LIMIT, &answer, &error))
        die(wire_name(envelope->body_case), &error);
    if (answer.envelope->body_case != expected) {
        fprintf(stderr, "bench_farm: %s answered by %s: %.*s\n",
                wire_name(envelope->body_case), wire_name(answer.envelope->body_case),
                answer.envelope->body_case == FARM__ENVELOPE__BODY_REFUSED
                    ? (int)answer.envelope->refused->text.len
                    : 0,
                answer.envelope->body_case == FARM__ENVELOPE__BODY_REFUSED
                    ? (char *)answer.envelope->refused->text.data
                    : "");
        exit(1);
    }
    return answer;
}

#define ENVELOPE(name, case, field, value)                                             \
    Farm__Envelope name = FARM__ENVELOPE__INIT;                                        \
    name.body_case = FARM__ENVELOPE__BODY_##case;                                      \
    name.field = value

static void greet(struct bench *self, zsock_t *socket, Farm__Device *device)
{
    static uint8_t instance[16];
    if (sodium_is_zero(instance, sizeof instance))
        randombytes_buf(instance, sizeof instance);
    Farm__Hello hello = FARM__HELLO__INIT;
    hello.version = WIRE_VERSION;
    hello.host = wire_text("bench");
    hello.instance = wire_bytes(instance, sizeof instance);
    hello.program = wire_text("bench_farm");
    hello.device = device;
    ENVELOPE(envelope, HELLO, hello, &hello);
    struct message welcome =
        ask(self, socket, &envelope, NULL, 0, FARM__ENVELOPE__BODY_WELCOME);
    self->bulk_port = welcome.envelope->welcome->bulk_port;
    message_clear(&welcome);
}

static void join(const char *text, struct keypair *key)
{
    struct token token;
    struct joined joined;
    struct error error;
    keypair_make(key, NULL);
    if (!token_parse(text, &token, &error) ||
        !join_farm(&token, key, "bench", &joined, START_MS, &error))
        die("joining", &error);
}

static void join_admin(struct bench *self)
{
    char *file = path_format("%s/" PLACE_ADMIN_TOKEN, self->state);
    struct buffer text = {0};
    struct error error;
    if (!path_read(file, TOKEN_TEXT, &text, &error))
        die("token", &error);
    char line[TOKEN_TEXT];
    if (sscanf(buffer_text(&text), "%1023s", line) != 1)
        die(file, NULL);
    join(line, &self->admin_key);
    buffer_clear(&text);
    free(file);
    self->admin = connect_to(self, &self->admin_key, self->address);
    greet(self, self->admin, NULL);

    Farm__TokenNew wanted = FARM__TOKEN_NEW__INIT;
    wanted.role = FARM__ROLE__ROLE_WORKER;
    wanted.ttl_s = 600;
    ENVELOPE(envelope, TOKEN_NEW, token_new, &wanted);
    struct message answer =
        ask(self, self->admin, &envelope, NULL, 0, FARM__ENVELOPE__BODY_TOKEN);
    char *token = wire_string(answer.envelope->token->text);
    join(token, &self->worker_key);
    free(token);
    message_clear(&answer);
}

static char *bulk_address(struct bench *self)
{
    return path_format("tcp://127.0.0.1:%u", self->bulk_port);
}

static void offer(struct bench *self, const struct keypair *key, const void *data,
                  size_t size, uint8_t id[BLOB_ID])
{
    char *address = bulk_address(self);
    zsock_t *bulk = connect_to(self, key, address);
    blob_id(data, size, id);
    Farm__Offer it = FARM__OFFER__INIT;
    it.blob = wire_bytes(id, BLOB_ID);
    it.size = size;
    ENVELOPE(envelope, OFFER, offer, &it);
    struct message answer =
        ask(self, bulk, &envelope, data, size, FARM__ENVELOPE__BODY_STORED);
    message_clear(&answer);
    zsock_destroy(&bulk);
    free(address);
}

/* A model of one small file: nobody renders it. */
static void add_model(struct bench *self)
{
    static const char content[] = "{\"_class_name\": \"StableDiffusionPipeline\"}";
    uint8_t blob[BLOB_ID], sha[32];
    blob_id(content, sizeof content, blob);
    crypto_hash_sha256(sha, (const uint8_t *)content, sizeof content);
    ProtobufCBinaryData piece = wire_bytes(blob, BLOB_ID);
    Farm__ModelFile file = FARM__MODEL_FILE__INIT, *files[] = {&file};
    file.path = wire_text("model_index.json");
    file.size = sizeof content;
    file.blob = wire_bytes(blob, BLOB_ID);
    file.sha256 = wire_bytes(sha, sizeof sha);
    file.pieces = &piece;
    file.n_pieces = 1;
    Farm__Manifest manifest = FARM__MANIFEST__INIT;
    manifest.name = wire_text("bench");
    manifest.kind = wire_text("diffusers");
    manifest.files = files;
    manifest.n_files = 1;
    manifest.factor = 8;
    manifest.width = manifest.height = 64;
    manifest.family = wire_text("sd1");
    Farm__ModelAdd add = FARM__MODEL_ADD__INIT;
    add.manifest = &manifest;
    for (int i = 0; i < 2; i++) { /* the second time nothing is missing */
        ENVELOPE(envelope, MODEL_ADD, model_add, &add);
        struct message answer = ask(self, self->admin, &envelope, NULL, 0,
                                    FARM__ENVELOPE__BODY_MODEL_STATE);
        memcpy(self->model, answer.envelope->model_state->id.data, BLOB_ID);
        if (answer.envelope->model_state->n_missing)
            offer(self, &self->admin_key, content, sizeof content, blob);
        message_clear(&answer);
    }
}

static void submit(struct bench *self, uint8_t id[16])
{
    randombytes_buf(id, 16);
    ProtobufCBinaryData prompt = wire_text("bench");
    Farm__SeedRange range = FARM__SEED_RANGE__INIT, *ranges[] = {&range};
    range.count = self->tasks;
    Farm__Setting model = FARM__SETTING__INIT, *settings[] = {&model};
    model.name = wire_text("model");
    model.value = wire_text("bench");
    Farm__Job job = FARM__JOB__INIT;
    job.prompts = &prompt;
    job.n_prompts = 1;
    job.seeds = ranges;
    job.n_seeds = 1;
    job.settings = settings;
    job.n_settings = 1;
    job.force = true;
    job.expansion = 1;
    Farm__Submit it = FARM__SUBMIT__INIT;
    it.id = wire_bytes(id, 16);
    it.job = &job;
    ENVELOPE(envelope, SUBMIT, submit, &it);
    struct message answer =
        ask(self, self->admin, &envelope, NULL, 0, FARM__ENVELOPE__BODY_ACCEPTED);
    message_clear(&answer);
}

/* ---- workers */

static void send_ready(struct bench *self, struct worker *w)
{
    ProtobufCBinaryData model = wire_bytes(self->model, BLOB_ID);
    Farm__Ready ready = FARM__READY__INIT;
    ready.credit = (uint32_t)(w->holds < CREDIT ? CREDIT - w->holds : 0);
    ready.models = &model;
    ready.n_models = 1;
    ready.batch = 1;
    ENVELOPE(envelope, READY, ready, &ready);
    send_to(w->control, &envelope, NULL, 0);
    w->ready_us = clock_us();
}

static void send_heartbeat(struct worker *w)
{
    Farm__Progress progress[HELD_MOST], *list[HELD_MOST];
    for (size_t i = 0; i < w->holds; i++) {
        farm__progress__init(&progress[i]);
        progress[i].attempt = w->held[i]->attempt;
        progress[i].state = FARM__ATTEMPT_STATE__ATTEMPT_UPLOADING;
        list[i] = &progress[i];
    }
    Farm__Heartbeat heartbeat = FARM__HEARTBEAT__INIT;
    heartbeat.progress = list;
    heartbeat.n_progress = w->holds;
    ENVELOPE(envelope, HEARTBEAT, heartbeat, &heartbeat);
    send_to(w->control, &envelope, NULL, 0);
}

static void send_commit(struct worker *w, Farm__Commit *commit)
{
    ENVELOPE(envelope, COMMIT, commit, commit);
    send_to(w->control, &envelope, NULL, 0);
}

/* A commit of one's own, unpacked from its packed form: one free_unpacked ends it. */
static Farm__Commit *make_commit(struct bench *self, const Farm__Attempt *attempt,
                                 const uint8_t blob[BLOB_ID])
{
    uint8_t packed[512];
    Farm__Result result = FARM__RESULT__INIT;
    result.png = wire_bytes(blob, BLOB_ID);
    result.png_size = self->blob ? self->blob : 1;
    result.pixels = wire_bytes(blob, BLOB_ID);
    result.seconds = 0.001;
    result.step_pixels = 20 * 64 * 64;
    Farm__Commit commit = FARM__COMMIT__INIT;
    commit.attempt = attempt->id;
    commit.job = attempt->job;
    commit.index = attempt->index;
    commit.key = attempt->key;
    commit.result = &result;
    size_t size = farm__commit__pack(&commit, packed);
    return farm__commit__unpack(NULL, size, packed);
}

static void take_attempt(struct bench *self, struct worker *w,
                         const Farm__Attempt *attempt)
{
    static uint8_t bytes[1 << 18];
    if (w->holds == HELD_MOST)
        die("a worker was given more than its credit", NULL);
    if (!self->blob) {
        Farm__Commit *commit = make_commit(self, attempt, self->stored);
        w->held[w->holds++] = commit;
        send_commit(w, commit);
        return;
    }
    uint8_t id[BLOB_ID];
    memset(bytes, 0, self->blob);
    memcpy(bytes, attempt->job.data, 16);
    memcpy(bytes + 16, &attempt->index, sizeof attempt->index);
    blob_id(bytes, self->blob, id);
    w->held[w->holds++] = make_commit(self, attempt, id);
    Farm__Offer it = FARM__OFFER__INIT;
    it.blob = wire_bytes(id, BLOB_ID);
    it.size = self->blob;
    ENVELOPE(envelope, OFFER, offer, &it);
    send_to(w->bulk, &envelope, bytes, self->blob);
}

static void take_answer(struct bench *self, struct worker *w,
                        const Farm__Committed *answer)
{
    if (answer->answer != FARM__COMMIT_ANSWER__COMMIT_ACCEPTED) {
        fprintf(stderr, "bench_farm: a commit was answered by %d %.*s\n",
                answer->answer, (int)answer->text.len, (char *)answer->text.data);
        exit(1);
    }
    for (size_t i = 0; i < w->holds; i++)
        if (w->held[i]->attempt->counter == answer->attempt->counter) {
            farm__commit__free_unpacked(w->held[i], NULL);
            w->held[i] = w->held[--w->holds];
            self->committed++;
            break;
        }
    send_ready(self, w);
}

static void read_control(struct bench *self, struct worker *w)
{
    struct message message;
    struct error error;
    while (wire_receive(w->control, WIRE_CONTROL_LIMIT, &message, &error)) {
        const Farm__Envelope *e = message.envelope;
        if (e->body_case == FARM__ENVELOPE__BODY_ASSIGN) {
            if (w->ready_us && self->waits < self->tasks)
                self->wait_ms[self->waits++] = (double)(clock_us() - w->ready_us) / 1e3;
            w->ready_us = 0;
            for (size_t i = 0; i < e->assign->n_attempts; i++)
                take_attempt(self, w, e->assign->attempts[i]);
        } else if (e->body_case == FARM__ENVELOPE__BODY_COMMITTED) {
            take_answer(self, w, e->committed);
        } else if (e->body_case == FARM__ENVELOPE__BODY_REFUSED) {
            fprintf(stderr, "bench_farm: refused: %.*s\n", (int)e->refused->text.len,
                    (char *)e->refused->text.data);
            exit(1);
        }
        message_clear(&message);
    }
    message_clear(&message);
}

static void read_bulk(struct worker *w)
{
    struct message message;
    struct error error;
    while (wire_receive(w->bulk, WIRE_BULK_LIMIT, &message, &error)) {
        const Farm__Envelope *e = message.envelope;
        if (e->body_case != FARM__ENVELOPE__BODY_STORED)
            die(wire_name(e->body_case), NULL);
        for (size_t i = 0; i < w->holds; i++)
            if (wire_is(w->held[i]->result->png, e->stored->blob.data, BLOB_ID))
                send_commit(w, w->held[i]);
        message_clear(&message);
    }
    message_clear(&message);
}

static void connect_workers(struct bench *self)
{
    char *bulk = bulk_address(self);
    for (size_t i = 0; i < self->workers; i++) {
        struct worker *w = &self->worker[i];
        Farm__Device device = FARM__DEVICE__INIT;
        device.index = (uint32_t)i;
        device.name = wire_text("none");
        device.kind = wire_text("bench");
        w->control = connect_to(self, &self->worker_key, self->address);
        w->bulk = connect_to(self, &self->worker_key, bulk);
        greet(self, w->control, &device);
    }
    free(bulk);
}

static void run(struct bench *self)
{
    size_t count = 2 * self->workers;
    zmq_pollitem_t *items = calloc(count, sizeof *items);
    for (size_t i = 0; i < self->workers; i++) {
        struct worker *w = &self->worker[i];
        items[2 * i] = (zmq_pollitem_t){zsock_resolve(w->control), 0, ZMQ_POLLIN, 0};
        items[2 * i + 1] = (zmq_pollitem_t){zsock_resolve(w->bulk), 0, ZMQ_POLLIN, 0};
        send_ready(self, w);
        w->ready_us = 0;
    }
    int64_t beat = clock_ms() + HEARTBEAT_MS;
    while (self->committed < self->tasks) {
        zmq_poll(items, (int)count, 1000);
        for (size_t i = 0; i < self->workers; i++) {
            if (items[2 * i].revents)
                read_control(self, &self->worker[i]);
            if (items[2 * i + 1].revents)
                read_bulk(&self->worker[i]);
        }
        if (clock_ms() >= beat) {
            for (size_t i = 0; i < self->workers; i++)
                send_heartbeat(&self->worker[i]);
            beat = clock_ms() + HEARTBEAT_MS;
        }
    }
    free(items);
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static uint64_t done_after_kill(struct bench *self, const uint8_t job[16])
{
    kill(self->process, SIGKILL);
    waitpid(self->process, NULL, 0);
    zsock_destroy(&self->admin);
    start_coordinator(self);
    self->admin = connect_to(self, &self->admin_key, self->address);
    greet(self, self->admin, NULL);
    char hex[33];
    sodium_bin2hex(hex, sizeof hex, job, 16);
    Farm__JobShow show = FARM__JOB_SHOW__INIT;
    show.job = wire_text(hex);
    ENVELOPE(envelope, JOB_SHOW, job_show, &show);
    struct message answer =
        ask(self, self->admin, &envelope, NULL, 0, FARM__ENVELOPE__BODY_JOB_DETAIL);
    uint64_t done = answer.envelope->job_detail->summary->done;
    message_clear(&answer);
    return done;
}

static void report(struct bench *self, double seconds, uint64_t remembered)
{
    qsort(self->wait_ms, self->waits, sizeof *self->wait_ms, compare);
    double p99 = self->waits ? self->wait_ms[self->waits * 99 / 100] : 0;
    double rate = (double)self->tasks / seconds;
    double router = farm_peer_router(512), sqlite = farm_peer_sqlite(self->state);
    double files = farm_peer_files(self->state, self->blob ? self->blob : 4096);
    if (self->json)
        printf("{\"work\": \"farm\", \"workers\": %zu, \"tasks\": %zu, \"blob\": %zu, "
               "\"tasks_per_s\": %.0f, \"assign_p99_ms\": %.1f, \"remembered\": %llu, "
               "\"router_trips_per_s\": %.0f, \"sqlite_commits_per_s\": %.0f, "
               "\"synced_files_per_s\": %.0f}\n",
               self->workers, self->tasks, self->blob, rate, p99,
               (unsigned long long)remembered, router, sqlite, files);
    else
        printf("%zu workers, %zu tasks, blobs of %zu bytes: %.0f tasks/s; credit to "
               "Assign p99 %.1f ms\n%s%llu%s"
               "beside it, alone: %.0f CURVE round trips/s, %.0f SQLite commits/s, "
               "%.0f synced files/s\n",
               self->workers, self->tasks, self->blob, rate, p99,
               self->kill_it ? "after kill -9 and restart: " : "",
               (unsigned long long)remembered,
               self->kill_it ? " of them done\n" : " answered\n", router, sqlite,
               files);
}

static void parse(struct bench *self, int argc, char **argv)
{
    static const struct option options[] = {{"workers", required_argument, NULL, 'w'},
                                            {"tasks", required_argument, NULL, 't'},
                                            {"blob", required_argument, NULL, 'b'},
                                            {"state", required_argument, NULL, 's'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"kill", no_argument, NULL, 'k'},
                                            {0}};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'w')
            self->workers = strtoul(optarg, NULL, 10);
        else if (c == 't')
            self->tasks = strtoul(optarg, NULL, 10);
        else if (c == 'b')
            self->blob = strtoul(optarg, NULL, 10);
        else if (c == 's')
            self->state = path_format("%s", optarg);
        else if (c == 'j')
            self->json = true;
        else if (c == 'k')
            self->kill_it = true;
        else
            exit(2);
    }
    if (optind + 1 != argc || self->blob > 1 << 18 || (self->blob && self->blob < 32)) {
        fprintf(stderr,
                "usage: bench_farm [--workers N] [--tasks N] [--blob 32..262144 "
                "or 0] [--state DIR] [--json] [--kill] COORDINATOR\n");
        exit(2);
    }
    self->coordinator = argv[optind];
}

int main(int argc, char **argv)
{
    struct bench self = {.workers = 500, .tasks = 20000, .blob = 16384};
    parse(&self, argc, argv);
    if (sodium_init() < 0)
        die("libsodium", NULL);
    zsys_set_max_sockets(0);
    char made[] = "/tmp/clfarm-bench-XXXXXX";
    if (!self.state)
        self.state = path_format("%s", mkdtemp(made) ? made : "");
    self.worker = calloc(self.workers, sizeof *self.worker);
    self.wait_ms = calloc(self.tasks, sizeof *self.wait_ms);

    uint8_t job[16];
    start_coordinator(&self);
    join_admin(&self);
    add_model(&self);
    offer(&self, &self.worker_key, "x", 1, self.stored);
    connect_workers(&self);
    submit(&self, job);
    int64_t start = clock_us();
    run(&self);
    double seconds = (double)(clock_us() - start) / 1e6;
    uint64_t remembered =
        self.kill_it ? done_after_kill(&self, job) : (uint64_t)self.committed;
    kill(self.process, SIGTERM);
    waitpid(self.process, NULL, 0);
    report(&self, seconds, remembered);
    for (size_t i = 0; i < self.workers; i++) {
        zsock_destroy(&self.worker[i].control);
        zsock_destroy(&self.worker[i].bulk);
    }
    zsock_destroy(&self.admin);
    path_remove_tree(self.state);
    return remembered == self.tasks ? 0 : 1;
}
