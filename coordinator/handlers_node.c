/* Nodes: what they are, and what an administrator makes of them. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/handlers.h"
#include "coordinator/learned.h"
#include "coordinator/work.h"

enum { NODE_TEXT_MOST = 300 };

bool handle_node_list(struct coordinator *self, struct request *request,
                      struct error *error)
{
    if (request->message->envelope->node_list->tuning)
        return tuning_list(self, request, error);
    size_t count = self->registry.count;
    Farm__Node *node = calloc(count + 1, sizeof *node);
    Farm__Nodes nodes = FARM__NODES__INIT;
    nodes.nodes = calloc(count + 1, sizeof *nodes.nodes);
    if (!node || !nodes.nodes)
        abort();
    for (size_t n = 0; n < count; n++) {
        farm__node__init(&node[n]);
        tell_show_node(self, self->registry.node[n], NULL, &node[n]);
        if (!owner_of(request)) /* it may tell of others' jobs */
            node[n].trouble = wire_text(self->registry.node[n]->trouble);
        nodes.nodes[n] = &node[n];
    }
    nodes.n_nodes = count;
    tell_answer(self, request, ANSWER(nodes, NODES, &nodes));
    for (size_t n = 0; n < count; n++)
        tell_clear_node(&node[n]);
    free(nodes.nodes);
    free(node);
    return true;
}

/* The nodes that a name means: the device of that name, or all of a worker's. */
static bool is_meant(const struct node *node, const char *text, const uint8_t *key)
{
    return strcmp(node->name, text) == 0 || (key && memcmp(node->key, key, 32) == 0);
}

/* A worker that was not here since the start is a node all the same. */
static const uint8_t *worker_named(struct coordinator *self, const char *text)
{
    struct member *member = members_resolve(&self->members, text, NULL);
    if (!member || member->role != FARM__ROLE__ROLE_WORKER ||
        strcmp(member->name, text) != 0)
        return NULL;
    bool known = false;
    for (size_t n = 0; n < self->registry.count; n++)
        known = known || memcmp(self->registry.node[n]->key, member->key, 32) == 0;
    if (!known)
        learned_load(self,
                     registry_node(&self->registry, member->key, 0, member->name));
    return member->key;
}

static bool rename_worker(struct coordinator *self, const uint8_t *key,
                          const char *name, struct error *error)
{
    struct member *member = members_find(&self->members, key);
    char made[MEMBER_NAME];
    members_name(&self->members, name, member->role, made);
    if (strcmp(made, name) != 0)
        return error_set_kind(error, ERROR_INPUT,
                              "\"%.60s\" is taken or no name; free would be \"%s\"",
                              name, made);
    snprintf(member->name, sizeof member->name, "%s", made);
    registry_rename(&self->registry, key, made);
    store_key(self, member);
    return true;
}

/* Does it to every node meant; how many those were. */
static size_t order_nodes(struct coordinator *self, const Farm__NodeSteer *steer,
                          const char *name, const char *text)
{
    static const enum node_order orders[] = {
        [FARM__NODE_ORDER__NODE_RELEASE] = NODE_FREE,
        [FARM__NODE_ORDER__NODE_DRAIN] = NODE_DRAINING,
        [FARM__NODE_ORDER__NODE_BLOCK] = NODE_BLOCKED,
    };
    const uint8_t *key = worker_named(self, name);
    size_t count = 0;
    for (size_t n = 0; n < self->registry.count; n++) {
        struct node *node = self->registry.node[n];
        if (!is_meant(node, name, key))
            continue;
        work_order(self, node, orders[steer->order], text);
        count++;
    }
    return count;
}

static bool steer_nodes(struct coordinator *self, const struct request *request,
                        const char *name, const char *text, struct error *error)
{
    static const char *const words[] = {"released", "drained", "blocked", "renamed"};
    const Farm__NodeSteer *steer = request->message->envelope->node_steer;
    const uint8_t *key = worker_named(self, name);
    bool renames = steer->order == FARM__NODE_ORDER__NODE_RENAME;
    if (renames && key && !rename_worker(self, key, text, error))
        return false;
    if (renames ? !key : !order_nodes(self, steer, name, text))
        return error_set_kind(error, ERROR_NOT_FOUND,
                              "there is no %s \"%.60s\"; `farmctl nodes` lists them",
                              renames ? "worker" : "node", name);
    audit_write(self->audit, "%s node=%s by=%s%s%s", words[steer->order], name,
                request->member->name, *text ? " text=" : "", text);
    return true;
}

bool handle_node_steer(struct coordinator *self, struct request *request,
                       struct error *error)
{
    const Farm__NodeSteer *steer = request->message->envelope->node_steer;
    char *name = wire_string(steer->node), *text = wire_string(steer->text);
    bool ok = strlen(text) <= NODE_TEXT_MOST ||
              error_set_kind(error, ERROR_INPUT, "a text of at most %d bytes, please",
                             NODE_TEXT_MOST);
    ok = ok && steer_nodes(self, request, name, text, error);
    free(name);
    free(text);
    Farm__Done done = FARM__DONE__INIT;
    if (ok)
        tell_answer(self, request, ANSWER(done, DONE, &done));
    return ok;
}
