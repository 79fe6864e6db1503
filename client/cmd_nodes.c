#include <inttypes.h>
#include <stdlib.h>

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

static int run(const struct arguments *arguments, struct error *error)
{
    Farm__NodeList list = FARM__NODE_LIST__INIT;
    Farm__Envelope ask = FARM__ENVELOPE__INIT;
    ask.body_case = FARM__ENVELOPE__BODY_NODE_LIST;
    ask.node_list = &list;
    struct asked asked;
    bool ok = ask_once(&asked, arguments, &ask, FARM__ENVELOPE__BODY_NODES, error);
    if (ok && arguments->json) {
        const Farm__Nodes *nodes = asked.answer.envelope->nodes;
        json_t *all = json_array();
        for (size_t i = 0; i < nodes->n_nodes; i++)
            json_array_append_new(all, json_node(nodes->nodes[i]));
        print_json(all);
    } else if (ok) {
        print_nodes(asked.answer.envelope->nodes);
    }
    asked_clear(&asked);
    return ok ? EXIT_DONE : command_failed(error);
}

extern const struct command cmd_nodes;
const struct command cmd_nodes = {
    .name = "nodes",
    .usage = "",
    .help = "list the nodes: device, memory planned of all, state, speed, what they do",
    .run = run,
};
