/* What the farm's throughput is held against, measured on the same machine in the same run:
 * the parts it is made of, alone.
 */
#ifndef FARM_FARM_PEERS_H
#define FARM_FARM_PEERS_H

#include <stddef.h>

/* Round trips a second between one CURVE DEALER and a bare ROUTER that echoes, 64 of `size`
 * bytes outstanding. */
double farm_peer_router(size_t size);

/* Durable SQLite transactions a second (WAL, synchronous=FULL, one row each). */
double farm_peer_sqlite(const char *folder);

/* Files of `size` bytes a second, hashed, written, and synced 32 at a time by syncfs. */
double farm_peer_files(const char *folder, size_t size);

#endif
