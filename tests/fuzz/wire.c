/* Any bytes as an envelope: what passes the check packs and passes again. */
#include <stdlib.h>

#include "proto/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error error;
    Farm__Envelope *read = wire_unpack(data, size, &error);
    if (!read)
        return 0;
    size_t packed = farm__envelope__get_packed_size(read);
    uint8_t *again = malloc(packed + 1);
    if (farm__envelope__pack(read, again) != packed)
        abort();
    farm__envelope__free_unpacked(read, NULL);
    read = wire_unpack(again, packed, &error);
    if (!read)
        abort();
    farm__envelope__free_unpacked(read, NULL);
    free(again);
    return 0;
}
