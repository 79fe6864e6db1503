#include "worker/sd/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "worker/sd/lora_key.h"

enum { SHARDS_MOST = 256 };

struct shard {
    struct safetensors *file;
    char *name;
};

struct known {
    const char *tensor; /* borrowed from its shard */
    const struct shard *shard;
    bool used;
};

struct checkpoint {
    struct shard shard[SHARDS_MOST];
    size_t shards, count;
    struct known *known; /* sorted by name */
    checkpoint_store *store;
    const void *owner;
    void *transposed; /* the matrix handed out last */
    bool notes;       /* layers, as part `part`'s */
    unsigned part;
    struct layer_sites sites;
};

/* What programs saved along with the weights and no pass reads: buffers, copies averaged over
 * training, the training schedule, switches read elsewhere. A name that begins or ends so. */
static const struct harmless {
    const char *start, *end;
} harmless[] = {
    {"", "embeddings.position_ids"},
    {"", "logit_scale"},
    {"cond_stage_model.transformer.text_projection.", ""},
    {"conditioner.embedders.0.transformer.text_projection.", ""},
    {"", "attn_mask"},
    {"model_ema.", ""},
    {"first_stage_model.model_ema.", ""},
    {"first_stage_model.loss.", ""},
    {"loss.", ""},
    {"alphas_cumprod", ""},
    {"betas", ""},
    {"log_one_minus_alphas_cumprod", ""},
    {"sqrt_alphas_cumprod", ""},
    {"sqrt_one_minus_alphas_cumprod", ""},
    {"sqrt_recip_alphas_cumprod", ""},
    {"sqrt_recipm1_alphas_cumprod", ""},
    {"posterior_", ""},
    {"lvlb_weights", ""},
    {"logvar", ""},
    {"scale_factor", ""},
    {"denoiser.sigmas", ""},
    {"denoiser.log_sigmas", ""},
    {"embedding_manager.", ""},
    {"global_step", ""},
    {"vae_scale", ""},
    {"vae_shift", ""},
    {"v_pred", ""},
    {"ztsnr", ""},
};

static int by_name(const void *a, const void *b)
{
    const struct known *x = a, *y = b;
    return strcmp(x->tensor, y->tensor);
}

static bool open_shard(struct checkpoint *self, const char *path, const char *name,
                       struct error *error)
{
    struct shard *shard = &self->shard[self->shards];
    shard->file = safetensors_open(path, error);
    if (!shard->file)
        return error_prefix(error, "%s", name);
    self->shards++;
    shard->name = path_format("%s", name);
    self->count += safetensors_count(shard->file);
    return true;
}

static bool list_names(struct checkpoint *self, struct error *error)
{
    struct known *known = self->known = calloc(self->count + 1, sizeof *known);
    if (!known)
        return error_set_kind(error, ERROR_MEMORY, "%s: no memory for %zu names",
                              self->shard[0].name, self->count);
    for (size_t i = 0; i < self->shards; i++)
        for (size_t j = 0; j < safetensors_count(self->shard[i].file); j++)
            *known++ = (struct known){safetensors_name(self->shard[i].file, j),
                                      &self->shard[i], false};
    qsort(self->known, self->count, sizeof *self->known, by_name);
    for (size_t i = 1; i < self->count; i++)
        if (by_name(&self->known[i - 1], &self->known[i]) == 0)
            return error_set_kind(error, ERROR_INPUT, "%s: tensor %s: also in %s",
                                  self->known[i].shard->name, self->known[i].tensor,
                                  self->known[i - 1].shard->name);
    return true;
}

struct checkpoint *checkpoint_open_shards(const struct model_file *const *files,
                                          size_t count, struct error *error)
{
    struct checkpoint *self = calloc(1, sizeof *self);
    if (!self) {
        error_set_kind(error, ERROR_MEMORY, "%s: no memory", files[0]->name);
        return NULL;
    }
    bool ok = count <= SHARDS_MOST ||
              error_set_kind(error, ERROR_INPUT, "%s: %zu files of weights, at most %d",
                             files[0]->name, count, SHARDS_MOST);
    for (size_t i = 0; ok && i < count; i++)
        ok = open_shard(self, files[i]->path, files[i]->name, error);
    if (!ok || !list_names(self, error))
        checkpoint_close(&self);
    return self;
}

struct checkpoint *checkpoint_open(const char *path, const char *name,
                                   struct error *error)
{
    struct model_file file = {.path = (char *)(uintptr_t)path,
                              .name = (char *)(uintptr_t)name};
    return checkpoint_open_shards((const struct model_file *[]){&file}, 1, error);
}

void checkpoint_close(struct checkpoint **self)
{
    if (!*self)
        return;
    for (size_t i = 0; i < (*self)->shards; i++) {
        safetensors_close(&(*self)->shard[i].file);
        free((*self)->shard[i].name);
    }
    free((*self)->known);
    free((*self)->transposed);
    layer_sites_clear(&(*self)->sites);
    free(*self);
    *self = NULL;
}

void checkpoint_translate(struct checkpoint *self, checkpoint_store *store,
                          const void *owner)
{
    self->store = store;
    self->owner = owner;
}

const struct tensor_file *checkpoint_file(const struct checkpoint *self)
{
    return safetensors_file(self->shard[0].file);
}

/* Where a tensor asked for lies. False when the layout has no place for it. */
static bool locate(const struct checkpoint *self, const char *tensor,
                   struct stored *into)
{
    *into = (struct stored){0};
    if (self->store)
        return self->store(self->owner, tensor, into);
    return (size_t)snprintf(into->name, sizeof into->name, "%s", tensor) <
           sizeof into->name;
}

static struct known *find(const struct checkpoint *self, const char *tensor)
{
    struct known key = {.tensor = tensor};
    return bsearch(&key, self->known, self->count, sizeof key, by_name);
}

bool checkpoint_has(const struct checkpoint *self, const char *tensor)
{
    struct stored stored;
    return locate(self, tensor, &stored) && find(self, stored.name);
}

const struct tensor_entry *checkpoint_entry(const struct checkpoint *self,
                                            const char *tensor)
{
    struct stored stored;
    const struct known *known =
        locate(self, tensor, &stored) ? find(self, stored.name) : NULL;
    return known ? tensor_file_find(safetensors_file(known->shard->file), known->tensor)
                 : NULL;
}

static const char *shape_text(char *text, size_t size, const size_t *shape, size_t dims)
{
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < dims && used < size; i++)
        used +=
            (size_t)snprintf(text + used, size - used, "%s%zu", i ? "x" : "", shape[i]);
    return dims ? text : "a single number";
}

static bool same_shape(const struct host_tensor *tensor, const size_t *shape,
                       size_t dims)
{
    bool pointwise = dims == 2 && tensor->dims == 4 && tensor->shape[2] == 1 &&
                     tensor->shape[3] == 1;
    if (tensor->dims != dims && !pointwise)
        return false;
    return memcmp(tensor->shape, shape, dims * sizeof *shape) == 0;
}

/* The `slice`-th of the equal parts a tensor's rows make. */
static void take_slice(struct host_tensor *tensor, const struct stored *stored)
{
    size_t size = tensor->type == HOST_F32 ? 4 : 2;
    tensor->shape[0] /= stored->slices;
    tensor->data = (const uint8_t *)tensor->data +
                   stored->slice * host_tensor_count(tensor) * size;
}

static bool transpose(struct checkpoint *self, struct host_tensor *tensor,
                      struct error *error)
{
    size_t rows = tensor->shape[0], columns = tensor->shape[1];
    size_t size = tensor->type == HOST_F32 ? 4 : 2;
    const uint8_t *from = tensor->data;
    free(self->transposed);
    uint8_t *into = self->transposed = malloc(rows * columns * size);
    if (!into)
        return error_set_kind(error, ERROR_MEMORY, "%s: no memory for a matrix",
                              self->shard[0].name);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            memcpy(into + (j * rows + i) * size, from + (i * columns + j) * size, size);
    tensor->shape[0] = columns;
    tensor->shape[1] = rows;
    tensor->data = into;
    return true;
}

bool checkpoint_get(struct checkpoint *self, const char *tensor, const size_t *shape,
                    size_t dims, struct host_tensor *into, struct error *error)
{
    struct stored stored;
    bool placed = locate(self, tensor, &stored);
    struct known *known = placed ? find(self, stored.name) : NULL;
    if (!known)
        return error_set_kind(error, ERROR_INPUT, "%s: tensor %s: missing",
                              self->shard[0].name, placed ? stored.name : tensor);
    if (!safetensors_get(known->shard->file, stored.name, into, error))
        return false;
    size_t expected[4];
    memcpy(expected, shape, dims * sizeof *shape);
    if (stored.slices)
        expected[0] *= stored.slices;
    if (stored.transposed) {
        expected[0] = shape[1];
        expected[1] = shape[0];
    }
    if (!same_shape(into, expected, dims)) {
        char found[100], wanted[100];
        return error_set_kind(error, ERROR_INPUT,
                              "%s: tensor %s: shape %s, expected %s",
                              known->shard->name, stored.name,
                              shape_text(found, sizeof found, into->shape, into->dims),
                              shape_text(wanted, sizeof wanted, expected, dims));
    }
    known->used = true;
    if (stored.slices)
        take_slice(into, &stored);
    return !stored.transposed || transpose(self, into, error);
}

void checkpoint_forgive(struct checkpoint *self, const char *prefix)
{
    for (size_t i = 0; i < self->count; i++)
        if (strncmp(self->known[i].tensor, prefix, strlen(prefix)) == 0)
            self->known[i].used = true;
}

static bool is_harmless(const char *tensor)
{
    size_t length = strlen(tensor);
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++) {
        size_t tail = strlen(harmless[i].end);
        if (length >= tail &&
            strncmp(tensor, harmless[i].start, strlen(harmless[i].start)) == 0 &&
            strcmp(tensor + length - tail, harmless[i].end) == 0)
            return true;
    }
    return false;
}

bool checkpoint_all_used(const struct checkpoint *self, struct error *error)
{
    for (size_t i = 0; i < self->count; i++)
        if (!self->known[i].used && !is_harmless(self->known[i].tensor))
            return error_set_kind(error, ERROR_INPUT,
                                  "%s: tensor %s: the configuration has no place for "
                                  "it; is config.json another model's?",
                                  self->known[i].shard->name, self->known[i].tensor);
    return true;
}

void checkpoint_part(struct checkpoint *self, unsigned part)
{
    self->notes = part < LORA_PARTS;
    self->part = part;
}

bool checkpoint_note(struct checkpoint *self, const struct layer_site *site,
                     struct error *error)
{
    struct layer_site noted = *site;
    noted.part = self->part;
    return !self->notes || site->weight.data == self->transposed ||
           layer_sites_add(&self->sites, &noted, error);
}

const struct layer_sites *checkpoint_sites(const struct checkpoint *self)
{
    return &self->sites;
}
