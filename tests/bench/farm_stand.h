/* What a coordinator costs besides throughput: at rest, and when it starts with a long past.
 */
#ifndef FARM_FARM_STAND_H
#define FARM_FARM_STAND_H

#include "tests/bench/farm_client.h"

/* Processor seconds that process used so far, and the most memory it ever had, in MiB. */
double farm_stand_cpu(pid_t process);
double farm_stand_memory(pid_t process);

/* Connections that ask for all events and read nothing. The caller's; destroys them. */
zsock_t **farm_stand_stall(struct farm_client *self, size_t count);
void farm_stand_release(zsock_t ***sockets, size_t count);

/* So many idle workers that send their heartbeats: the part of a core that the coordinator
 * uses, over `seconds`. */
double farm_stand_idle(struct farm_client *self, size_t workers, double seconds);

/* Fills the database as if that many tasks of two open jobs were done and as many queued,
 * and gives the seconds from exec until the coordinator answers an administrator. */
double farm_stand_restart(struct farm_client *self, size_t tasks);

#endif
