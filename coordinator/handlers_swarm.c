/* Pieces of models between workers: who is told of whom, and may ask whom.
 *
 *   fetching worker    coordinator               serving worker
 *     | Have{fetching} --> |                          |
 *     |                    | Grant{id, key, model} -> |  gate lets the key in
 *     |                    | <------- Granted{id}     |
 *     | <--------- Peers   |  those that granted, and what it may ask us for
 *     | Want ---------------------------------------> |  grant looked at, range sent
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "coordinator/handlers.h"
#include "coordinator/swarm.h"

static size_t pieces_of(const struct model *model)
{
    size_t pieces = 0;
    for (size_t f = 0; f < model->manifest->n_files; f++)
        pieces += model->manifest->files[f]->n_pieces;
    return pieces;
}

/* Of a whole model; a checkpoint is one piece. */
static bool pieces_named(const struct coordinator *self, const uint8_t id[32],
                         size_t *pieces, struct error *error)
{
    const struct model *model = models_find(&self->models, id);
    *pieces = model ? pieces_of(model) : 1;
    return (model ? model->complete : checkpoints_name(&self->checkpoints, id)) ||
           error_set_kind(error, ERROR_NOT_FOUND, "the farm has no such model");
}

static void send_grant(struct coordinator *self, const struct swarm_grant *grant)
{
    Farm__Grant message = FARM__GRANT__INIT;
    message.id = grant->id;
    message.key = wire_bytes(grant->client_key, 32);
    message.model = wire_bytes(grant->model, 32);
    message.lasts_s = SWARM_GRANT_S;
    outbox_push(self->outbox, grant->server, ANSWER(grant, GRANT, &message));
}

static void answer_peers(struct coordinator *self, const struct request *request,
                         struct swarm_member *member, bool starved)
{
    struct swarm_member *sources[SWARM_SOURCES];
    size_t count = swarm_sources(self->swarm, member, sources);
    size_t bytes = (swarm_pieces(member) + 7) / 8;
    Farm__Source source[SWARM_SOURCES], *list[SWARM_SOURCES];
    Farm__Peers peers = FARM__PEERS__INIT;
    peers.model = request->message->envelope->have->model;
    peers.sources = list;
    for (size_t s = 0; s < count; s++) {
        bool is_new;
        const struct swarm_grant *grant =
            swarm_grant(self->swarm, sources[s], member, self->now, &is_new);
        if (is_new)
            send_grant(self, grant);
        if (!grant->confirmed)
            continue;
        Farm__Source *one = &source[peers.n_sources];
        farm__source__init(one);
        one->key = wire_bytes(sources[s]->key, 32);
        one->address = wire_text(sources[s]->address);
        one->pieces = wire_bytes(sources[s]->have, bytes);
        list[peers.n_sources++] = one;
    }
    uint8_t *seeds = swarm_seeds(self->swarm, member, starved, self->now);
    peers.seeds = wire_bytes(seeds, bytes);
    tell_answer(self, request, ANSWER(peers, PEERS, &peers));
    free(seeds);
}

static void note_bad(struct coordinator *self, const struct request *request,
                     const Farm__Have *have)
{
    for (size_t b = 0; b < have->n_bad; b++) {
        const struct member *member = members_find(&self->members, have->bad[b].data);
        if (!member || !swarm_accuse(self->swarm, member->key, request->member->key))
            continue;
        log_warn("%s says that %s sent it a wrong piece", request->member->name,
                 member->name);
        audit_write(self->audit, "wrong-piece from=%s by=%s", member->name,
                    request->member->name);
    }
}

bool handle_have(struct coordinator *self, struct request *request, struct error *error)
{
    const Farm__Have *have = request->message->envelope->have;
    size_t pieces;
    if (!pieces_named(self, have->model.data, &pieces, error))
        return false;
    struct swarm_member *member = swarm_have(
        self->swarm, have->model.data, pieces, request->peer, request->member->key,
        request->session->serves, have->pieces.len ? have->pieces.data : NULL,
        have->pieces.len, have->fetching, error);
    if (!member)
        return false;
    note_bad(self, request, have);
    if (have->fetching)
        answer_peers(self, request, member, have->starved);
    return true;
}

bool handle_granted(struct coordinator *self, struct request *request,
                    struct error *error)
{
    (void)error;
    const Farm__Granted *granted = request->message->envelope->granted;
    struct swarm_grant *grant =
        swarm_grant_find(self->swarm, granted->id, request->peer);
    if (grant && granted->refused)
        swarm_grant_drop(self->swarm, &grant);
    else if (grant)
        grant->confirmed = true;
    return true;
}

void swarm_revoke(struct coordinator *self, const uint8_t key[32])
{
    struct swarm_grant *grant;
    while ((grant = swarm_grant_of(self->swarm, key))) {
        Farm__GrantEnd end = FARM__GRANT_END__INIT;
        end.key = wire_bytes(key, 32);
        outbox_push(self->outbox, grant->server, ANSWER(grant_end, GRANT_END, &end));
        swarm_grant_drop(self->swarm, &grant);
    }
}
