/* Where a farm can be reached: what a token names. */
#ifndef FARM_ADDRESSES_H
#define FARM_ADDRESSES_H

#include "proto/keys.h"

/* Fills token->address. `advertise` ("host", "host:port", "tcp://host:port", by commas)
 * goes before all; else the one address listened on; else every interface's own, or the
 * loopback when there is no other. `bind` is "tcp://ADDRESS". */
bool addresses_list(const char *bind, const char *advertise, int port,
                    struct token *token, struct error *error);

#endif
