/* A model part's config.json, read key by key.
 *
 * The first wrong value stays as the error and later reads return their fallback, so that
 * a list of reads stands like a table and is checked once at the end. Keys nobody reads
 * mean nothing: the tables of the models hold every key that diffusers and transformers
 * act on.
 */
#ifndef FARM_MODEL_CONFIG_H
#define FARM_MODEL_CONFIG_H

#include <jansson.h>
#include <stddef.h>

#include "base/error.h"
#include "opencl/ops.h"

struct model_config {
    json_t *root;
    const char *name; /* for messages: "unet/config.json"; borrowed */
    bool failed;
    struct error error;
};

/* ERROR_INPUT naming `name` when the file is no JSON object or above 1 MiB. */
bool model_config_open(struct model_config *self, const char *path, const char *name,
                       struct error *error);

/* Frees it; false and the first error when a read had failed. */
bool model_config_close(struct model_config *self, struct error *error);

/* Whether the key is there; and not null. */
bool model_config_named(const struct model_config *self, const char *key);
bool model_config_has(const struct model_config *self, const char *key);

/* Puts a value, written as JSON, where the key is absent. */
void model_config_default(struct model_config *self, const char *key, const char *json);

/* An absent key gives the fallback; a null too, as diffusers means "none" by it. */
size_t model_config_size(struct model_config *self, const char *key, size_t fallback,
                         size_t most); /* 1 .. most */
double model_config_number(struct model_config *self, const char *key, double fallback,
                           double least, double most);
bool model_config_bool(struct model_config *self, const char *key, bool fallback);

/* One of `choices` (NULL-terminated), as its index. */
size_t model_config_choice(struct model_config *self, const char *key,
                           const char *fallback, const char *const *choices);

/* `count` values: a list of that length, or one value that counts for all. */
void model_config_sizes(struct model_config *self, const char *key, size_t fallback,
                        size_t most, size_t *values, size_t count);
void model_config_bools(struct model_config *self, const char *key, bool fallback,
                        bool *values, size_t count);

/* `count` numbers of a list of that length; false where there is none. */
bool model_config_numbers(struct model_config *self, const char *key, double least,
                          double most, double *values, size_t count);

/* diffusers' name of an activation, in any case; without a fallback, null is NONE. */
enum activation model_config_activation(struct model_config *self, const char *key,
                                        const char *fallback);

/* For layer `i` of level `level` of `levels`: a list's entry may itself be a list, of a value
 * for each of the level's `layers`. 0 is a value too, of what is not there. */
size_t model_config_layer_size(struct model_config *self, const char *key,
                               size_t fallback, size_t most, size_t level,
                               size_t levels, size_t i, size_t layers);

/* A list the file must have: its length, 1 .. most; and entry `i` as a choice. */
size_t model_config_length(struct model_config *self, const char *key, size_t most);
size_t model_config_entry(struct model_config *self, const char *key, size_t i,
                          const char *const *choices);

/* Keys that may only be absent or have the one value we implement, written as JSON. */
struct model_config_only {
    const char *key, *json;
};
void model_config_only(struct model_config *self, const struct model_config_only *table,
                       size_t count);

/* ERROR_INPUT "NAME: KEY is VALUE; WHY", for checks across keys. */
void model_config_refuse(struct model_config *self, const char *key, const char *format,
                         ...) __attribute__((format(printf, 3, 4)));

#endif
