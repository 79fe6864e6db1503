/* A set is a list of patches: a layer's slot and what lies there while the set is not in
 * use. Putting a set on or taking it off exchanges the two.
 *
 * Files may name a UNet's layers as diffusers does or, kohya's of SDXL, as single files do:
 * the index has both.
 */
#include "worker/sd/adapters.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "worker/sd/layer_sites.h"
#include "worker/sd/lora.h"
#include "worker/sd/lora_alias.h"

enum { SETS_KEPT = 3, FILES_MOST = 16 };

struct named {
    enum lora_part part;
    char name[LORA_LAYER_MOST];
    const struct layer_site *site;
};

struct patch {
    const struct layer_site *site;
    struct packed packed; /* the other one */
};

struct set {
    char *key; /* paths and weights; NULL: free */
    uint64_t id, used;
    size_t count;
    struct patch *patch;
};

struct adapters {
    struct model *model;
    size_t count;
    struct named *index; /* sorted */
    struct set set[SETS_KEPT];
    struct set *on; /* NULL: none */
    uint64_t now, last_id;
};

static int by_name(const void *a, const void *b)
{
    const struct named *left = a, *right = b;
    if (left->part != right->part)
        return left->part < right->part ? -1 : 1;
    return strcmp(left->name, right->name);
}

static void add_name(struct adapters *self, const struct layer_site *site,
                     const char *name)
{
    struct named *named = &self->index[self->count];
    named->part = (enum lora_part)site->part;
    named->site = site;
    const char *outer = "text_model.";
    if (site->part != LORA_UNET && strncmp(name, outer, strlen(outer)) == 0)
        name += strlen(outer);
    self->count += lora_layer_name(named->name, name);
}

struct adapters *adapters_new(struct model *model, struct error *error)
{
    struct adapters *self = calloc(1, sizeof *self);
    size_t sites = 0;
    for (size_t i = 0; i < model->files; i++)
        sites += checkpoint_sites(model->file[i])->count;
    if (self)
        self->index = calloc(2 * sites + 1, sizeof *self->index);
    if (!self || !self->index) {
        error_set_kind(error, ERROR_MEMORY, "no memory for adapters");
        adapters_destroy(&self);
        return NULL;
    }
    self->model = model;
    for (size_t i = 0; i < model->files; i++) {
        const struct layer_sites *list = checkpoint_sites(model->file[i]);
        for (size_t j = 0; j < list->count; j++) {
            const struct layer_site *site = &list->item[j];
            char alias[LORA_LAYER_MOST];
            add_name(self, site, site->name);
            if (site->part == LORA_UNET &&
                lora_alias(alias, &model->unet.config, site->name))
                add_name(self, site, alias);
        }
    }
    qsort(self->index, self->count, sizeof *self->index, by_name);
    return self;
}

/* ---- Sets */

static void exchange(struct set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        struct packed packed = *set->patch[i].site->packed;
        *set->patch[i].site->packed = set->patch[i].packed;
        set->patch[i].packed = packed;
    }
}

static void take_off(struct adapters *self)
{
    if (self->on)
        exchange(self->on);
    self->on = NULL;
}

static void set_clear(struct set *self, struct gpu *gpu)
{
    for (size_t i = 0; i < self->count; i++)
        pack_clear(&self->patch[i].packed, gpu);
    free(self->patch);
    free(self->key);
    *self = (struct set){0};
}

bool adapters_trim(struct adapters *self)
{
    bool any = false;
    for (size_t i = 0; i < SETS_KEPT; i++)
        if (self->set[i].key && &self->set[i] != self->on) {
            set_clear(&self->set[i], self->model->gpu);
            any = true;
        }
    return any;
}

void adapters_destroy(struct adapters **self)
{
    if (!*self)
        return;
    take_off(*self);
    if ((*self)->model)
        adapters_trim(*self);
    free((*self)->index);
    free(*self);
    *self = NULL;
}

/* ---- Making one */

/* A file's i-th layer, on a site. */
struct touch {
    const struct layer_site *site;
    size_t order; /* of the file among the uses */
    const struct lora *lora;
    size_t i;
    double weight;
};

static int by_site(const void *a, const void *b)
{
    const struct touch *left = a, *right = b;
    if (left->site != right->site)
        return left->site < right->site ? -1 : 1;
    return left->order < right->order ? -1 : left->order > right->order;
}

static bool find_touches(const struct adapters *self, const struct lora *lora,
                         size_t order, double weight, struct buffer *into,
                         struct error *error)
{
    for (size_t i = 0; i < lora_count(lora); i++) {
        struct named wanted = {0};
        const char *layer;
        wanted.part = lora_layer(lora, i, &layer);
        strcpy(wanted.name, layer);
        const struct named *found =
            bsearch(&wanted, self->index, self->count, sizeof wanted, by_name);
        if (!found)
            return lora_refuse(lora, i,
                               "the model has no such layer; is it for another family?",
                               error);
        struct touch touch = {found->site, order, lora, i, weight};
        if (!buffer_append(into, &touch, sizeof touch, error))
            return false;
    }
    return true;
}

/* The site's bias with what touches have of it, heap in *values; NULL stays where neither has
 * any. */
static bool make_bias(const struct touch *touch, size_t count, size_t out,
                      float **values, struct error *error)
{
    const struct layer_site *site = touch->site;
    bool any = false, ok = true;
    for (size_t i = 0; i < count; i++)
        any = any || lora_has_bias(touch[i].lora, touch[i].i);
    if (!any)
        return true;
    *values = calloc(out, sizeof **values);
    if (!*values)
        return error_set_kind(error, ERROR_MEMORY, "no memory for a bias");
    if (site->biased)
        host_tensor_floats(&site->bias, 0, out, *values);
    for (size_t i = 0; ok && i < count; i++)
        ok = !lora_has_bias(touch[i].lora, touch[i].i) ||
             lora_add_bias(touch[i].lora, touch[i].i, touch[i].weight, *values, out,
                           error);
    return ok;
}

/* The site's weights with all touches, packed for the device. */
static bool make_patch(struct adapters *self, const struct touch *touch, size_t count,
                       struct patch *into, struct error *error)
{
    const struct layer_site *site = touch->site;
    struct host_tensor weight = site->weight;
    size_t values = host_tensor_count(&weight), out = weight.shape[0];
    size_t size = weight.dims == 4 ? weight.shape[2] : 1;
    float *sum = calloc(2 * values, sizeof *sum), *base = sum ? sum + values : NULL;
    if (!sum)
        return error_set_kind(error, ERROR_MEMORY, "no memory for %zu weights", values);
    host_tensor_floats(&weight, 0, values, sum);
    memcpy(base, sum, values * sizeof *sum);
    float *biases = NULL;
    bool ok = make_bias(touch, count, out, &biases, error);
    for (size_t i = 0; ok && i < count; i++)
        ok = lora_add(touch[i].lora, touch[i].i, touch[i].weight, base, sum, out,
                      weight.shape[1], size, error);
    weight.type = HOST_F32;
    weight.data = sum;
    const struct host_tensor own = {HOST_F32, 1, {out}, biases};
    const struct host_tensor *bias = biases ? &own : site->biased ? &site->bias : NULL;
    enum dtype dtype = site->packed->dtype;
    struct gpu *gpu = self->model->gpu;
    struct linear linear = {0};
    struct conv conv = {0};
    if (ok && site->conv)
        ok = conv_load(&conv, gpu, dtype, &weight, bias, error);
    else if (ok)
        ok = linear_load(&linear, gpu, dtype, site->geglu, &weight, bias, error);
    *into = (struct patch){site, site->conv ? conv.packed : linear.packed};
    free(biases);
    free(sum);
    return ok;
}

static bool make_patches(struct adapters *self, struct buffer *touches, struct set *set,
                         struct error *error)
{
    struct touch *touch = (struct touch *)(void *)touches->data;
    size_t count = touches->size / sizeof *touch;
    set->patch = calloc(count + 1, sizeof *set->patch);
    if (!set->patch)
        return error_set_kind(error, ERROR_MEMORY, "no memory for %zu layers", count);
    if (count)
        qsort(touch, count, sizeof *touch, by_site);
    for (size_t i = 0, same; i < count; i += same) {
        for (same = 1; i + same < count && touch[i + same].site == touch[i].site;)
            same++;
        if (!make_patch(self, touch + i, same, &set->patch[set->count], error))
            return false;
        set->count++;
    }
    return true;
}

static bool make_set(struct adapters *self, const struct adapter_use *uses,
                     size_t count, struct set *set, struct error *error)
{
    struct lora *lora[FILES_MOST] = {NULL};
    struct buffer touches = {0};
    bool ok = count <= FILES_MOST ||
              error_set_kind(error, ERROR_INPUT, "%zu LoRA files, at most %d", count,
                             FILES_MOST);
    for (size_t i = 0; ok && i < count; i++)
        ok = (lora[i] = lora_open(uses[i].path, uses[i].name, error)) &&
             find_touches(self, lora[i], i, uses[i].weight, &touches, error);
    ok = ok && make_patches(self, &touches, set, error);
    for (size_t i = 0; i < FILES_MOST; i++)
        lora_close(&lora[i]);
    buffer_clear(&touches);
    if (!ok)
        set_clear(set, self->model->gpu);
    return ok;
}

static struct set *find_set(struct adapters *self, const char *key)
{
    struct set *place = &self->set[0];
    for (size_t i = 0; i < SETS_KEPT; i++) {
        struct set *set = &self->set[i];
        if (set->key && strcmp(set->key, key) == 0)
            return set;
        if (set->used < place->used)
            place = set;
    }
    set_clear(place, self->model->gpu);
    return place;
}

static bool write_key(const struct adapter_use *uses, size_t count, struct buffer *into,
                      struct error *error)
{
    for (size_t i = 0; i < count; i++)
        if (!buffer_printf(into, error, "%s:%.17g\n", uses[i].path, uses[i].weight))
            return false;
    return true;
}

bool adapters_set(struct adapters *self, const struct adapter_use *uses, size_t count,
                  uint64_t *set, struct error *error)
{
    *set = 0;
    take_off(self);
    if (!count)
        return true;
    struct buffer key = {0};
    if (!write_key(uses, count, &key, error)) {
        buffer_clear(&key);
        return false;
    }
    struct set *found = find_set(self, buffer_text(&key));
    if (!found->key) {
        struct error first = {0};
        bool ok = make_set(self, uses, count, found, &first);
        if (!ok && first.kind == ERROR_MEMORY) {
            adapters_trim(self);
            ok = make_set(self, uses, count, found, &first);
        }
        if (!ok) {
            buffer_clear(&key);
            if (error)
                *error = first;
            return false;
        }
        found->key = (char *)key.data;
        found->id = ++self->last_id;
        key = (struct buffer){0};
    }
    buffer_clear(&key);
    found->used = ++self->now;
    exchange(found);
    self->on = found;
    *set = found->id;
    return true;
}
