/* Giving pieces of models, and snapshots, to other workers, each under a grant of the coordinator.
 *
 * A grant is (key, model, expiry). It lets the key through the gate, and is looked at again
 * for every range that key asks for: only files of that model, or that snapshot, are given. The port is this
 * process's own, a CURVE server with the worker's key.
 */
#ifndef FARM_SERVE_H
#define FARM_SERVE_H

#include <czmq.h>

#include "proto/keys.h"
#include "worker/checkpoints.h"
#include "worker/pieces.h"

struct serve;

/* Binds (port 0: the kernel's choice, *bound gets it). One a process: it is the process's
 * gate. Borrows the piece cache and the snapshots. */
struct serve *serve_new(const struct keypair *own, const char *bind, int port,
                        struct pieces *pieces, struct checkpoints *checkpoints,
                        int *bound, struct error *error);
void serve_destroy(struct serve **self);

/* Takes a grant, or makes the one there last longer. ERROR_NOT_FOUND: the model is not
 * known here; ERROR_BUSY: too many grants. */
bool serve_grant(struct serve *self, const uint8_t key[KEY_SIZE],
                 const uint8_t model[BLOB_ID], int64_t until_ms, struct error *error);
void serve_end(struct serve *self, const uint8_t key[KEY_SIZE]);

/* Answers what came and what waited for room; call when the socket is readable, and every
 * 20 ms while serve_is_waiting. */
zsock_t *serve_socket(struct serve *self);
void serve_step(struct serve *self, int64_t now_ms);
bool serve_is_waiting(const struct serve *self);

#endif
