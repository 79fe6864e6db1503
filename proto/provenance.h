/* Where a picture comes from, signed by the farm: what the PNG chunk `clfarm` holds.
 *
 *     clfarm provenance 1
 *     task 64 hexadecimal digits       the task key
 *     pixels 64 digits                 BLAKE2b-256 of the decoded RGB bytes
 *     model 64 digits                  manifest id; a line for each model and input file
 *     denylist 64 digits               the deny list the job was held against; no line: none
 *     engine farm-worker 0.1.0, numerics 1
 *     variant text                     devices of one variant give the same bytes
 *     node Z85                         the key of the worker that rendered it
 *     time 1795413397                  unix seconds of the commit
 *     farm Z85                         the key that verifies the signature
 *     signature 128 digits             of all lines above
 *
 * The pixels' hash is the worker's word; whoever verifies compares it with the picture, so
 * that a wrong one only takes the worker's own picture out of trust.
 */
#ifndef FARM_PROVENANCE_H
#define FARM_PROVENANCE_H

#include "base/buffer.h"
#include "proto/signing.h"

#define PROVENANCE_KEYWORD "clfarm"

enum { PROVENANCE_TEXT = 128, PROVENANCE_MODELS = 65, PROVENANCE_LIMIT = 8192 };

struct provenance {
    uint8_t task[32], pixels[32];
    uint8_t model[PROVENANCE_MODELS][32];
    size_t models;
    bool listed; /* held against a deny list, this one: */
    uint8_t deny_list[32];
    char engine[PROVENANCE_TEXT], variant[PROVENANCE_TEXT];
    uint8_t node[32];
    int64_t time;
    uint8_t farm[SIGNING_KEY]; /* filled by signing and by reading */
};

/* Appends the signed text. Control characters of engine and variant become '?': they come
 * from a worker. */
void provenance_sign(const struct provenance *self, const struct signer *signer,
                     struct buffer *into);

/* Reads a text whose signature holds under the key it names; whether that key is a farm's
 * one trusts, and whether the picture has those pixels, is the caller's to ask. ERROR_INPUT
 * says what is wrong. */
bool provenance_read(const char *text, struct provenance *into, struct error *error);

/* The same, and it is of that farm and of those pixels (width x height x 3 bytes). */
bool provenance_verify(const char *text, const uint8_t farm[SIGNING_KEY],
                       const uint8_t *rgb, size_t size, struct error *error);

#endif
