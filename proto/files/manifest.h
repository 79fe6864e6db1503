/* A model as a list of files with sizes and hashes: what travels instead of its folder.
 *
 * The id is the BLAKE2b-256 over the files alone, sorted by path (path, a zero byte, size
 * as 8 bytes big-endian, blob id): equal content is one model whatever it is called.
 */
#ifndef FARM_MANIFEST_H
#define FARM_MANIFEST_H

#include "base/error.h"
#include "proto/farm.pb-c.h"
#include "proto/files/blob.h"
#include "proto/signing.h"

enum { MANIFEST_SIDE_MOST = 65536 };

/* A model's manifest: of a folder, or of one file as models are passed around. */
Farm__Manifest *manifest_from_path(const char *path, const char *name,
                                   struct error *error);

/* One safetensors file that holds all parts; kind "single". `name` may be NULL: the file's
 * without what follows the last point. ERROR_INPUT for a pickled checkpoint, with the way to
 * convert it, and for a file of no family we know. */
Farm__Manifest *manifest_from_single(const char *path, const char *name,
                                     struct error *error);

/* Reads a diffusers folder: model_index.json, the JSON and text files and the safetensors
 * the pipeline's parts need; hashes everything (BLAKE2b of file and pieces, SHA-256);
 * fills factor, default size, family and the reason it was recognised by. `name` may be
 * NULL: the folder's last part. Refuses folders with no model_index.json, pickled weights
 * (.bin, .ckpt: says to convert them to safetensors), and families that are not done. */
Farm__Manifest *manifest_from_folder(const char *folder, const char *name,
                                     struct error *error);
/* A manifest of one file that a job brings along, of kind "picture", "lora", "embedding" or
 * "vae"; its name is the file's without what follows the last point. Looks at the file's
 * first bytes: ERROR_INPUT for one that is no such file. */
Farm__Manifest *manifest_from_file(const char *path, const char *kind,
                                   struct error *error);

/* Of such a kind; what is none is a model. manifest_check asks the second for those. */
bool manifest_is_input(const Farm__Manifest *self);
bool manifest_check_input(const Farm__Manifest *self, struct error *error);

/* Hashes the file at `path` and appends it under `name`. */
bool manifest_add_file(Farm__Manifest *self, const char *name, const char *path,
                       struct error *error);

/* One that was unpacked or made here; takes a null. */
void manifest_destroy(Farm__Manifest **self);

void manifest_id(const Farm__Manifest *self, uint8_t id[BLOB_ID]);

/* A manifest from elsewhere: names are relative, plain, unique and sorted, hashes have
 * their length, piece counts fit the sizes, limits on number and total (1 TiB) hold. One
 * that says nothing of its family, as those stored before there were any, is as good. */
bool manifest_check(const Farm__Manifest *self, struct error *error);

/* The order files stand in: memcmp, the shorter one first. */
int manifest_compare_paths(ProtobufCBinaryData a, ProtobufCBinaryData b);

/* The farm's signature over all of a manifest but the signature itself, and whether the
 * one it carries holds under that farm's key (ERROR_DENIED). */
void manifest_sign(const Farm__Manifest *self, const struct signer *signer,
                   uint8_t signature[SIGNING_SIGNATURE]);
bool manifest_verify(const Farm__Manifest *self, const uint8_t farm[SIGNING_KEY],
                     struct error *error);

/* First 10 hex digits of the SHA-256 of the UNet's weights: A1111's "Model hash"; "" when it has
 * none. */
void manifest_model_hash(const Farm__Manifest *self, char text[11]);

#endif
