/* Any bytes as a snapshot: what is read is written back as the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "worker/sd/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct snapshot snapshot;
    struct buffer again = {0};
    struct error error;
    if (!snapshot_read(&snapshot, data, size, &error))
        return 0;
    if (!snapshot_write(&snapshot, &again, &error) || again.size != size ||
        memcmp(again.data, data, size) != 0)
        abort();
    buffer_clear(&again);
    snapshot_clear(&snapshot);
    return 0;
}
