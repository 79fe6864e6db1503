#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/path.h"
#include "client/ask.h"
#include "client/command.h"
#include "client/json.h"
#include "client/print.h"

static void add_node(struct table *table, const Farm__Node *node)
{
    const Farm__Device *device = node->device;
    char *name = wire_string(node->name), *state = wire_string(node->state);
    char *model = device ? wire_string(device->name) : path_format("%s", "");
    char *driver = device ? wire_string(device->driver) : path_format("%s", "");
    char *leased = path_format("%" PRIu32, node->leased);
    char *memory = path_format("%" PRIu64 "/%" PRIu64, node->memory / 1000000,
                               device ? device->memory / 1000000 : 0);
    char *speed = node->step_pixels_per_s > 0
                      ? path_format("%.3g", node->step_pixels_per_s)
                      : path_format("%s", "-");
    char *rate = path_format("%.1f", node->images_per_minute);
    char *images = path_format("%" PRIu64, node->images);
    char *seen = node->last_seen_ms < 0 ? path_format("%s", "-")
                                        : format_age(node->last_seen_ms / 1000);
    table_row(table, (const char *[]){name, state, model, driver, memory, leased,
                                      images, rate, speed, seen});
    char *texts[] = {name,   state, model, driver, memory,
                     leased, speed, rate,  images, seen};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free(texts[i]);
}

static void print_nodes(const Farm__Nodes *nodes)
{
    struct table *table = table_new(
        (const char *[]){"NODE", "STATE", "DEVICE", "DRIVER", "MEMORY/MB", "TASKS",
                         "IMAGES", "IMAGES/MIN", "STEP-PIXELS/S", "SEEN", NULL});
    for (size_t i = 0; i < nodes->n_nodes; i++)
        add_node(table, nodes->nodes[i]);
    table_print(&table);
}

static void add_tuned(struct table *table, const Farm__Tuned *tuned)
{
    char *kind = wire_string(tuned->kind), *shape = wire_string(tuned->shape);
    char *variant = wire_string(tuned->variant), *node = wire_string(tuned->node);
    char *gain = path_format("%.1f %%", 100 * (tuned->gain - 1));
    int64_t age = clock_unix() - tuned->at;
    char *when = format_age(age > 0 ? age : 0);
    table_row(table, (const char *[]){kind, shape, variant, gain, when, node});
    char *texts[] = {kind, shape, variant, gain, when, node};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free(texts[i]);
}

static void print_tuning(const Farm__Nodes *nodes)
{
    struct table *table = table_new(
        (const char *[]){"KIND", "PRODUCT", "VARIANT", "GAIN", "AGE", "NODE", NULL});
    for (size_t i = 0; i < nodes->n_tuned; i++)
        add_tuned(table, nodes->tuned[i]);
    table_print(&table);
}

static void print_as_json(const Farm__Nodes *nodes, bool tuning)
{
    json_t *all = json_array();
    for (size_t i = 0; !tuning && i < nodes->n_nodes; i++)
        json_array_append_new(all, json_node(nodes->nodes[i]));
    for (size_t i = 0; tuning && i < nodes->n_tuned; i++)
        json_array_append_new(all, json_tuned(nodes->tuned[i]));
    print_json(all);
}

static int run(const struct arguments *arguments, struct error *error)
{
    Farm__NodeList list = FARM__NODE_LIST__INIT;
    list.tuning = arguments_has(arguments, "tuning");
    Farm__Envelope ask = FARM__ENVELOPE__INIT;
    ask.body_case = FARM__ENVELOPE__BODY_NODE_LIST;
    ask.node_list = &list;
    struct asked asked;
    bool ok = ask_once(&asked, arguments, &ask, FARM__ENVELOPE__BODY_NODES, error);
    const Farm__Nodes *nodes = ok ? asked.answer.envelope->nodes : NULL;
    if (ok && arguments->json)
        print_as_json(nodes, list.tuning);
    else if (ok && list.tuning)
        print_tuning(nodes);
    else if (ok)
        print_nodes(nodes);
    asked_clear(&asked);
    return ok ? EXIT_DONE : command_failed(error);
}

static const struct flag flags[] = {
    {"tuning", 0, NULL, "list which variants of kernels its devices found fastest"},
    {NULL, 0, NULL, NULL},
};

extern const struct command cmd_nodes;
const struct command cmd_nodes = {
    .name = "nodes",
    .usage = "[--tuning]",
    .help = "list the nodes: device, memory planned of all, state, speed, what they do",
    .flags = flags,
    .run = run,
};
