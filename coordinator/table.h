/* Hash tables whose keys are a fixed number of bytes inside the items themselves. */
#ifndef FARM_TABLE_H
#define FARM_TABLE_H

#include <czmq.h>

/* Keys of 5 (routing ids), 8, 16 or 32 bytes; a stored item's key must stay where it is.
 * Hashed with a secret of this process, so that nobody can choose keys that collide. The
 * caller destroys it with zhashx_destroy. */
zhashx_t *table_new(size_t key_size);

#endif
