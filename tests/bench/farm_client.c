#include "tests/bench/farm_client.h"

#include <math.h>
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

enum { START_MS = 20000 };

static const struct farm_client *started;

/* Not by exit(), which would have czmq list every socket that is still open. */
_Noreturn void farm_client_die(const char *what, const struct error *error)
{
    fprintf(stderr, "bench_farm: %s: %s\n", what, error ? error->text : "failed");
    if (started) {
        kill(started->process, SIGKILL);
        waitpid(started->process, NULL, 0);
        path_remove_tree(started->state);
    }
    _exit(1);
}

static void die_of_answer(const char *asked, const Farm__Envelope *answer)
{
    bool refused = answer->body_case == FARM__ENVELOPE__BODY_REFUSED;
    struct error error;
    error_set(&error, "answered by %s: %.*s", wire_name(answer->body_case),
              refused ? (int)answer->refused->text.len : 0,
              refused ? (const char *)answer->refused->text.data : "");
    farm_client_die(asked, &error);
}

void farm_client_start(struct farm_client *self)
{
    char *file = path_format("%s/" PLACE_ADDRESS, self->state);
    unlink(file);
    self->process = fork();
    if (self->process == 0) {
        execl(self->coordinator, self->coordinator, "--state", self->state, "--bind",
              "tcp://127.0.0.1", "--port", "0", "--bulk-port", "0", "--log", "warn",
              "--rate", "0", (char *)NULL);
        _exit(127);
    }
    started = self;
    int64_t until = clock_ms() + START_MS;
    while (!farm_load(&self->farm, self->state, PLACE_ADDRESS, NULL)) {
        if (clock_ms() > until || waitpid(self->process, NULL, WNOHANG) != 0)
            farm_client_die(self->coordinator, NULL);
        usleep(10000);
    }
    free(file);
}

void farm_client_open(struct farm_client *self, zsock_t *socket,
                      const struct keypair *key, const char *address)
{
    zsock_set_curve_serverkey_bin(socket, self->farm.server_key);
    zsock_set_curve_publickey_bin(socket, key->public_key);
    zsock_set_curve_secretkey_bin(socket, key->secret_key);
    zsock_set_linger(socket, 0);
    if (zsock_connect(socket, "%s", address) != 0)
        farm_client_die(address, NULL);
}

zsock_t *farm_client_connect(struct farm_client *self, const struct keypair *key,
                             const char *address)
{
    zsock_t *socket = zsock_new(ZMQ_DEALER);
    farm_client_open(self, socket, key, address);
    return socket;
}

void farm_client_send(zsock_t *socket, Farm__Envelope *envelope, const void *payload,
                      size_t size)
{
    struct error error;
    if (!wire_send(socket, NULL, envelope, payload, size, &error))
        farm_client_die("sending", &error);
}

struct message farm_client_ask(struct farm_client *self, zsock_t *socket,
                               Farm__Envelope *envelope, const void *payload,
                               size_t size, Farm__Envelope__BodyCase expected)
{
    envelope->request = ++self->request;
    farm_client_send(socket, envelope, payload, size);
    zsock_set_rcvtimeo(socket, START_MS);
    zmq_pollitem_t item = {zsock_resolve(socket), 0, ZMQ_POLLIN, 0};
    struct message answer = {0};
    struct error error = {.text = "no answer"};
    do {
        message_clear(&answer);
        if (zmq_poll(&item, 1, START_MS) < 1 ||
            !wire_receive(socket, WIRE_CONTROL_LIMIT, &answer, &error))
            farm_client_die(wire_name(envelope->body_case), &error);
    } while (answer.envelope->body_case == FARM__ENVELOPE__BODY_PULSE);
    if (answer.envelope->body_case != expected)
        die_of_answer(wire_name(envelope->body_case), answer.envelope);
    return answer;
}

void farm_client_greet(struct farm_client *self, zsock_t *socket, Farm__Device *device)
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
        farm_client_ask(self, socket, &envelope, NULL, 0, FARM__ENVELOPE__BODY_WELCOME);
    self->bulk_port = welcome.envelope->welcome->bulk_port;
    message_clear(&welcome);
}

static void join(const char *given, struct keypair *key)
{
    struct token token;
    struct joined joined;
    struct error error;
    keypair_make(key, NULL);
    if (!token_read(given, &token, &error) ||
        !join_farm(&token, key, "bench", &joined, START_MS, &error))
        farm_client_die("joining", &error);
}

void farm_client_join(struct farm_client *self)
{
    char *file = path_format("%s/" PLACE_ADMIN_TOKEN, self->state);
    join(file, &self->admin_key);
    free(file);
    self->admin = farm_client_connect(self, &self->admin_key, self->farm.address);
    farm_client_greet(self, self->admin, NULL);

    for (int w = 0; w < FARM_CLIENT_WORKERS; w++) {
        Farm__TokenNew wanted = FARM__TOKEN_NEW__INIT;
        wanted.role = FARM__ROLE__ROLE_WORKER;
        wanted.ttl_s = 600;
        ENVELOPE(envelope, TOKEN_NEW, token_new, &wanted);
        struct message answer = farm_client_ask(self, self->admin, &envelope, NULL, 0,
                                                FARM__ENVELOPE__BODY_TOKEN);
        char *token = wire_string(answer.envelope->token->text);
        join(token, &self->worker_key[w]);
        free(token);
        message_clear(&answer);
    }
}

char *farm_client_bulk_address(struct farm_client *self)
{
    return path_format("tcp://127.0.0.1:%u", self->bulk_port);
}

void farm_client_offer(struct farm_client *self, const struct keypair *key,
                       const void *data, size_t size, uint8_t id[BLOB_ID])
{
    char *address = farm_client_bulk_address(self);
    zsock_t *bulk = farm_client_connect(self, key, address);
    blob_id(data, size, id);
    Farm__Offer it = FARM__OFFER__INIT;
    it.blob = wire_bytes(id, BLOB_ID);
    it.size = size;
    ENVELOPE(envelope, OFFER, offer, &it);
    struct message answer =
        farm_client_ask(self, bulk, &envelope, data, size, FARM__ENVELOPE__BODY_STORED);
    message_clear(&answer);
    zsock_destroy(&bulk);
    free(address);
}

void farm_client_add_model(struct farm_client *self)
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
        struct message answer = farm_client_ask(self, self->admin, &envelope, NULL, 0,
                                                FARM__ENVELOPE__BODY_MODEL_STATE);
        memcpy(self->model, answer.envelope->model_state->id.data, BLOB_ID);
        if (answer.envelope->model_state->n_missing)
            farm_client_offer(self, &self->admin_key, content, sizeof content, blob);
        message_clear(&answer);
    }
}

/* The value at the end of the first line that begins so; -1 without one. */
static double sample(const char *text, const char *name)
{
    const char *line = strstr(text, name);
    const char *space = line ? strchr(line, ' ') : NULL;
    return space ? strtod(space, NULL) : -1;
}

static double quantile(const char *text, const char *name, double part)
{
    char *begin = path_format("\nclfarm_%s_bucket{le=\"", name);
    char *count = path_format("\nclfarm_%s_count", name);
    double wanted = part * sample(text, count), low = 0, below = 0, found = -1;
    for (const char *at = strstr(text, begin); at && found < 0;
         at = strstr(at + 1, begin)) {
        double end = strtod(at + strlen(begin), NULL), most = sample(at, begin);
        if (most >= wanted)
            found = low + (end - low) * (wanted - below) / fmax(most - below, 1);
        low = end;
        below = most;
    }
    free(begin);
    free(count);
    return 1e3 * found;
}

double farm_client_quantile(struct farm_client *self, const char *name, double part)
{
    Farm__MetricsGet get = FARM__METRICS_GET__INIT;
    ENVELOPE(envelope, METRICS_GET, metrics_get, &get);
    struct message answer = farm_client_ask(self, self->admin, &envelope, NULL, 0,
                                            FARM__ENVELOPE__BODY_METRICS);
    char *text = wire_string(answer.envelope->metrics->text);
    double found = quantile(text, name, part);
    free(text);
    message_clear(&answer);
    return found;
}

void farm_client_submit(struct farm_client *self, size_t tasks, uint8_t id[16])
{
    randombytes_buf(id, 16);
    ProtobufCBinaryData prompt = wire_text("bench");
    Farm__SeedRange range = FARM__SEED_RANGE__INIT, *ranges[] = {&range};
    range.count = tasks;
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
    struct message answer = farm_client_ask(self, self->admin, &envelope, NULL, 0,
                                            FARM__ENVELOPE__BODY_ACCEPTED);
    message_clear(&answer);
}
