/* What one key, and all together, may take of the coordinator.
 *
 *   messages     a bucket a key: `rate` a second, BURST_S seconds' worth at once
 *   attempts     what is refused as not allowed is logged and audited, a line a minute a
 *                key at most, with the count of those since
 *   handshakes   connections that end before their handshake did are counted and logged, a
 *                line a minute
 *   descriptors  at 90 % of NOFILE a door takes no new connection, below 70 % it does again;
 *                links that are there stay
 *   memory       above `memory-mib` both doors are closed and opened anew: what is in half
 *                sent messages of endless parts goes with them; everybody connects again
 */
#ifndef FARM_LIMITS_H
#define FARM_LIMITS_H

#include <czmq.h>

#include "coordinator/members.h"

/* Whether the key may send one more message now. */
bool limits_allow(struct member *member, int64_t rate, int64_t now_ms);

/* Takes a share of all the key may send at once: what it asked for was that much work. */
void limits_charge(struct member *member, int64_t rate, double share);

/* Counts an attempt; the number to be told now (0: told lately). */
unsigned limits_offence(struct member *member, int64_t now_ms);

/* A door that is unbound while too many descriptors are open. */
struct limits_door {
    char endpoint[300];
    bool shut;
    int64_t looked;
    zsock_t *monitor; /* libzmq's word on handshakes */
    unsigned broken;  /* since they were last told of */
    int64_t told;
};
void limits_door_init(struct limits_door *self, zsock_t *socket);
void limits_door_clear(struct limits_door *self);

/* Call it at least every second. */
void limits_mind(struct limits_door *self, zsock_t *socket, int64_t now_ms);

/* Resident bytes of this process. */
uint64_t limits_memory(void);

#endif
