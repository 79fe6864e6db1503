#include <stdlib.h>
#include <string.h>

#include "proto/files/manifest.h"
#include "proto/wire.h"

#define PURPOSE "clfarm manifest"

/* What is signed: the packed message without its signature, fields in order of number. */
static uint8_t *pack_bare(const Farm__Manifest *self, size_t *size)
{
    Farm__Manifest bare = *self;
    bare.signature = (ProtobufCBinaryData){0, NULL};
    return wire_pack(&bare.base, size);
}

void manifest_sign(const Farm__Manifest *self, const struct signer *signer,
                   uint8_t signature[SIGNING_SIGNATURE])
{
    size_t size;
    uint8_t *packed = pack_bare(self, &size);
    signer_sign(signer, PURPOSE, packed, size, signature);
    free(packed);
}

bool manifest_verify(const Farm__Manifest *self, const uint8_t farm[SIGNING_KEY],
                     struct error *error)
{
    size_t size;
    uint8_t *packed = pack_bare(self, &size);
    bool ok = self->signature.len == SIGNING_SIGNATURE &&
              signing_verify(farm, PURPOSE, packed, size, self->signature.data);
    free(packed);
    return ok || error_set_kind(error, ERROR_DENIED,
                                "model %.*s: its manifest is not signed by the farm",
                                (int)self->name.len, (const char *)self->name.data);
}
