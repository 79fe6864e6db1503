/* The gate: the ZAP actor of a coordinator. Who may finish a CURVE handshake at all.
 *
 * It answers libzmq's authentication requests from memory (key -> role), refuses NULL and
 * PLAIN, and gives an admitted connection's User-Id: its key as Z85. Roles themselves are
 * checked per message by the coordinator, from its own table.
 *
 * Start it before any socket binds: without a ZAP handler libzmq admits every key.
 */
#ifndef FARM_GATE_H
#define FARM_GATE_H

#include <czmq.h>

#include "proto/keys.h"

enum { GATE_KEY = 32 };

struct gate;

/* Starts with the keys given (count x 32 bytes). */
struct gate *gate_new(const uint8_t (*keys)[GATE_KEY], size_t count,
                      struct error *error);
void gate_destroy(struct gate **self);

/* Both return when the gate has taken the change. */
void gate_admit(struct gate *self, const uint8_t key[GATE_KEY]);
void gate_forget(struct gate *self, const uint8_t key[GATE_KEY]);

/* Makes an unbound socket a CURVE server that only the gate lets anybody through: server
 * key, ZAP domain (enforced, and read back), handshake within 5 s, frames of at most
 * `limit` bytes, mandatory routing on a ROUTER, heartbeats that free dead connections, no
 * linger. Fails when any of it does not stick; the socket must then not be bound. */
bool gate_guard(zsock_t *socket, const struct keypair *server, size_t limit,
                struct error *error);

#endif
