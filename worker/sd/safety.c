#include "worker/sd/safety.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/sd/clip_layer.h"

enum {
    WIDTH_MOST = 8192,
    SIDE_MOST = 128,
    PATCH_MOST = 64,
    LAYERS_MOST = 128,
    HEAD = 64
};

static const float EPS = 1e-5f;

/* What CLIP's pictures are on average, and how they deviate. */
static const float MEAN[3] = {0.48145466f, 0.4578275f, 0.40821073f};
static const float DEVIATION[3] = {0.26862954f, 0.26130258f, 0.27577711f};

/* One kind of concepts: where they lie and how near is too near. */
struct concepts {
    size_t count;
    float *place; /* [count, projection] */
    float *threshold;
};

struct safety {
    struct gpu *gpu;
    char *path;
    struct stream *stream;
    size_t c, inner, layers, projection;
    size_t patch, side;        /* pixels of a patch, patches of a side */
    struct linear patches;     /* 3 patch^2 -> c */
    struct tensor places;      /* [1, 1, 1 + side^2, c]: what each begins with */
    struct norm before, after; /* c */
    struct clip_layer *layer;
    struct linear project; /* c -> projection */
    struct tensor in;      /* [1, 1, 1 + side^2, 3 patch^2], row 0 zeros */
    struct tensor out;     /* [1, 1, 1 + side^2, projection] */
    struct concepts special, concept;
};

/* ---- Loading */

static bool sizes(struct safety *self, const struct checkpoint *from, const char *outer,
                  struct error *error)
{
    char name[160];
    snprintf(name, sizeof name, "%sembeddings.patch_embedding.weight", outer);
    const struct tensor_entry *patches = checkpoint_entry(from, name);
    snprintf(name, sizeof name, "%sembeddings.position_embedding.weight", outer);
    const struct tensor_entry *positions = checkpoint_entry(from, name);
    snprintf(name, sizeof name, "%sencoder.layers.0.mlp.fc1.weight", outer);
    const struct tensor_entry *expand = checkpoint_entry(from, name);
    const struct tensor_entry *project =
        checkpoint_entry(from, "visual_projection.weight");
    if (!patches || patches->dims != 4 || !positions || positions->dims != 2 ||
        !expand || expand->dims != 2 || !project || project->dims != 2)
        return error_set_kind(error, ERROR_INPUT,
                              "is not a StableDiffusionSafetyChecker's weights");
    self->c = patches->shape[0];
    self->patch = patches->shape[2];
    self->inner = expand->shape[0];
    self->projection = project->shape[0];
    while (self->side < SIDE_MOST && self->side * self->side + 1 < positions->shape[0])
        self->side++;
    bool square = self->side * self->side + 1 == positions->shape[0];
    if (!self->c || self->c % HEAD || self->c > WIDTH_MOST || !self->inner ||
        self->inner > 4 * WIDTH_MOST || !self->patch || self->patch > PATCH_MOST ||
        !square || !self->side || !self->projection || self->projection > WIDTH_MOST)
        return error_set_kind(error, ERROR_INPUT,
                              "is a vision transformer of %zu channels and %zu places "
                              "of %zu pixels; it should have multiples of %d, and one "
                              "place more than a square",
                              self->c, positions->shape[0], self->patch, HEAD);
    for (; self->layers < LAYERS_MOST; self->layers++) {
        snprintf(name, sizeof name, "%sencoder.layers.%zu.layer_norm1.weight", outer,
                 self->layers);
        if (!checkpoint_has(from, name))
            break;
    }
    return true;
}

/* Patches are rows of values in the order of the weights, so that the convolution with its
 * stride is a product. */
static void load_patches(struct safety *self, struct loader *l, const char *outer)
{
    char name[120];
    struct host_tensor weight;
    size_t shape[] = {self->c, 3, self->patch, self->patch};
    snprintf(name, sizeof name, "%sembeddings.patch_embedding.weight", outer);
    if (l->failed || !checkpoint_get(l->from, name, shape, 4, &weight, &l->error)) {
        l->failed = true;
        return;
    }
    weight.dims = 2;
    weight.shape[1] = 3 * self->patch * self->patch;
    l->failed =
        !linear_load(&self->patches, l->gpu, l->dtype, false, &weight, NULL, &l->error);
}

/* A tensor's values on the heap; NULL when the loader failed. */
static float *load_values(struct loader *l, const char *name, const size_t *shape,
                          size_t dims)
{
    struct host_tensor tensor;
    if (l->failed || !checkpoint_get(l->from, name, shape, dims, &tensor, &l->error)) {
        l->failed = true;
        return NULL;
    }
    size_t count = shape[0] * (dims > 1 ? shape[1] : 1);
    float *values = load_array(l, count, sizeof *values);
    if (values)
        host_tensor_floats(&tensor, 0, count, values);
    return values;
}

/* The class's place begins with its vector, the others with what they show; all with where
 * they are. */
static void load_places(struct safety *self, struct loader *l, const char *outer)
{
    char name[120];
    size_t places = self->side * self->side + 1;
    snprintf(name, sizeof name, "%sembeddings.class_embedding", outer);
    float *class = load_values(l, name, (size_t[]){self->c}, 1);
    snprintf(name, sizeof name, "%sembeddings.position_embedding.weight", outer);
    float *where = load_values(l, name, (size_t[]){places, self->c}, 2);
    for (size_t i = 0; class && where && i < self->c; i++)
        where[i] += class[i];
    if (class && where)
        l->failed = !tensor_new(&self->places, l->gpu, DTYPE_F32, 1, 1, places, self->c,
                                &l->error) ||
                    !tensor_upload(&self->places, l->gpu, where, &l->error);
    free(class);
    free(where);
}

static void load_concepts(struct concepts *self, struct loader *l, size_t projection,
                          const char *name)
{
    char weights[60];
    const struct tensor_entry *entry = checkpoint_entry(l->from, name);
    self->count = entry && entry->dims == 2 ? entry->shape[0] : 1;
    if (!l->failed && (!self->count || self->count > SAFETY_CONCEPTS))
        l->failed =
            !error_set_kind(&l->error, ERROR_INPUT, "%s: %zu concepts, at most %d",
                            name, self->count, SAFETY_CONCEPTS);
    snprintf(weights, sizeof weights, "%s_weights", name);
    self->place = load_values(l, name, (size_t[]){self->count, projection}, 2);
    self->threshold = load_values(l, weights, (size_t[]){self->count}, 1);
}

static void load_all(struct safety *self, struct loader *l, const char *outer)
{
    const struct clip_layer_shape shape = {
        .c = self->c, .inner = self->inner, .heads = self->c / HEAD, .eps = EPS};
    load_patches(self, l, outer);
    load_places(self, l, outer);
    load_norm(l, &self->before, self->c, EPS, "%spre_layrnorm",
              outer); /* so it is spelt */
    self->layer = load_array(l, self->layers, sizeof *self->layer);
    for (size_t i = 0; self->layer && i < self->layers; i++) {
        char prefix[100];
        snprintf(prefix, sizeof prefix, "%sencoder.layers.%zu", outer, i);
        clip_layer_load(&self->layer[i], l, prefix, &shape);
    }
    load_norm(l, &self->after, self->c, EPS, "%spost_layernorm", outer);
    load_linear(l, &self->project, self->c, self->projection, LINEAR_NO_BIAS,
                "visual_projection");
    load_concepts(&self->special, l, self->projection, "special_care_embeds");
    load_concepts(&self->concept, l, self->projection, "concept_embeds");
}

static void forward(struct safety *self)
{
    struct stream *s = self->stream;
    size_t places = self->side * self->side + 1;
    struct tensor x = tensor_take(s, 1, 1, places, self->c);
    struct tensor normed = tensor_take(s, 1, 1, places, self->c);
    struct tensor wide = tensor_take(s, 1, 1, places, self->inner);
    linear(s, normed, self->in, &self->patches, ACTIVATION_NONE, &self->places);
    layer_norm(s, x, normed, &self->before);
    for (size_t i = 0; i < self->layers; i++)
        clip_layer_apply(s, x, normed, wide, &self->layer[i], ACTIVATION_QUICK_GELU);
    layer_norm(s, normed, x, &self->after);
    linear(s, self->out, normed, &self->project, ACTIVATION_NONE, NULL);
    tensor_give(s, &wide);
    tensor_give(s, &normed);
    tensor_give(s, &x);
}

static bool load(struct safety *self, struct checkpoint *from, struct error *error)
{
    /* Published files have the outer module's name; transformers 5.6 and later save
     * without it. */
    const char *outer = checkpoint_has(from, "vision_model.post_layernorm.weight")
                            ? "vision_model."
                            : "vision_model.vision_model.";
    struct loader l = {.from = from, .gpu = self->gpu, .dtype = DTYPE_F32};
    if (!sizes(self, from, outer, error))
        return false;
    load_all(self, &l, outer);
    if (l.failed) {
        if (error)
            *error = l.error;
        return false;
    }
    size_t places = self->side * self->side + 1, values = 3 * self->patch * self->patch;
    if (!checkpoint_all_used(from, error) ||
        !tensor_new(&self->in, self->gpu, DTYPE_F32, 1, 1, places, values, error) ||
        !tensor_new(&self->out, self->gpu, DTYPE_F32, 1, 1, places, self->projection,
                    error) ||
        !(self->stream = stream_new(self->gpu, DTYPE_F32, error)))
        return false;
    stream_plan(self->stream);
    forward(self);
    return stream_ready(self->stream, error);
}

struct safety *safety_load(struct gpu *gpu, const char *path, const char *name,
                           struct error *error)
{
    struct checkpoint *from = checkpoint_open(path, name, error);
    if (!from)
        return NULL;
    struct safety *self = calloc(1, sizeof *self);
    if (!self) {
        error_set_kind(error, ERROR_MEMORY, "no memory for a safety checker");
    } else {
        self->gpu = gpu;
        self->path = strdup(path);
        if (!self->path || !load(self, from, error)) {
            error_prefix(error, "safety checker %s", name);
            safety_destroy(&self);
        }
    }
    checkpoint_close(&from);
    return self;
}

void safety_destroy(struct safety **self)
{
    struct safety *own = *self;
    if (!own)
        return;
    stream_destroy(&own->stream);
    linear_clear(&own->patches, own->gpu);
    tensor_destroy(&own->places, own->gpu);
    norm_clear(&own->before, own->gpu);
    norm_clear(&own->after, own->gpu);
    for (size_t i = 0; own->layer && i < own->layers; i++)
        clip_layer_clear(&own->layer[i], own->gpu);
    free(own->layer);
    linear_clear(&own->project, own->gpu);
    tensor_destroy(&own->in, own->gpu);
    tensor_destroy(&own->out, own->gpu);
    free(own->path);
    free(own->special.place);
    free(own->special.threshold);
    free(own->concept.place);
    free(own->concept.threshold);
    free(own);
    *self = NULL;
}

const struct stream *safety_stream(const struct safety *self)
{
    return self->stream;
}

size_t safety_beside(const struct safety *self)
{
    return (tensor_count(&self->in) + tensor_count(&self->out)) * sizeof(float);
}

bool safety_is(const struct safety *self, const char *path)
{
    return strcmp(self->path, path) == 0;
}

/* ---- Looking */

/* As CLIPImageProcessor makes it: the longer side is cut down to a whole number of pixels. */
static bool middle_of(const struct pixels *picture, size_t side, struct pixels *into,
                      struct error *error)
{
    size_t w = picture->width, h = picture->height, least = w < h ? w : h;
    struct pixels small = {.width = w == least ? side : side * w / least,
                           .height = h == least ? side : side * h / least};
    *into = (struct pixels){.width = side, .height = side};
    bool ok = pixels_resize(&small, picture, RESIZE_BICUBIC, error) &&
              pixels_crop(into, &small, (long)(small.width - side) / 2,
                          (long)(small.height - side) / 2, error);
    pixels_clear(&small);
    return ok;
}

/* values[1 + patch][channel][y][x] */
static void fill(const struct safety *self, const struct pixels *picture, float *values)
{
    size_t patch = self->patch, all = 3 * patch * patch;
    for (size_t y = 0; y < picture->height; y++)
        for (size_t x = 0; x < picture->width; x++)
            for (size_t i = 0; i < 3; i++) {
                size_t place = 1 + y / patch * self->side + x / patch;
                float value =
                    (float)picture->rgb[(y * picture->width + x) * 3 + i] / 255;
                values[place * all + (i * patch + y % patch) * patch + x % patch] =
                    (value - MEAN[i]) / DEVIATION[i];
            }
}

static bool upload(struct safety *self, const struct pixels *picture,
                   struct error *error)
{
    struct pixels middle;
    float *values = calloc(tensor_count(&self->in), sizeof *values);
    if (!values)
        return error_set_kind(error, ERROR_MEMORY, "no memory for a picture");
    bool ok = middle_of(picture, self->side * self->patch, &middle, error);
    if (ok) {
        fill(self, &middle, values);
        ok = tensor_upload(&self->in, self->gpu, values, error);
    }
    pixels_clear(&middle);
    free(values);
    return ok;
}

static double cosine(const float *a, const float *b, size_t count)
{
    double product = 0, square_a = 0, square_b = 0;
    for (size_t i = 0; i < count; i++) {
        product += (double)a[i] * b[i];
        square_a += (double)a[i] * a[i];
        square_b += (double)b[i] * b[i];
    }
    return product / (sqrt(square_a) * sqrt(square_b));
}

static double score(const struct concepts *of, size_t which, const float *seen,
                    size_t projection, double adjustment)
{
    double near = cosine(seen, of->place + which * projection, projection);
    return rint((near - of->threshold[which] + adjustment) * 1000) / 1000;
}

static void judge(const struct safety *self, const float *seen,
                  struct safety_finding *into)
{
    double adjustment = 0;
    *into = (struct safety_finding){.specials = self->special.count,
                                    .concepts = self->concept.count};
    for (size_t i = 0; i < self->special.count; i++) {
        into->special[i] = score(&self->special, i, seen, self->projection, adjustment);
        if (into->special[i] > 0)
            adjustment = 0.01;
    }
    for (size_t i = 0; i < self->concept.count; i++) {
        into->concept[i] = score(&self->concept, i, seen, self->projection, adjustment);
        into->flagged = into->flagged || into->concept[i] > 0;
    }
}

bool safety_check(struct safety *self, const struct pixels *picture,
                  struct safety_finding *into, struct error *error)
{
    float *seen = calloc(tensor_count(&self->out), sizeof *seen);
    if (!seen)
        return error_set_kind(error, ERROR_MEMORY, "no memory for a finding");
    bool ok = upload(self, picture, error);
    if (ok) {
        stream_run(self->stream);
        forward(self);
        ok = stream_end(self->stream, error) &&
             tensor_download(&self->out, self->gpu, seen, error);
    }
    for (size_t i = 0; ok && i < self->projection; i++)
        if (!isfinite(seen[i]))
            ok = error_set_kind(error, ERROR_DEVICE,
                                "the safety checker's answer is not finite");
    if (ok)
        judge(self, seen, into);
    free(seen);
    return ok;
}
