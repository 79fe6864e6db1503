#include "worker/sd/vae_pass.h"

#include <math.h>
#include <stdlib.h>

struct vae_pass {
    struct gpu *gpu;
    const struct vae *vae;
    enum vae_way way;
    size_t h, w; /* latents */
    struct stream *stream;
    struct tensor from, to;
};

static void forward(struct vae_pass *self)
{
    struct stream *s = self->stream;
    if (self->way == VAE_ENCODES) {
        vae_encode(s, self->to, self->from, self->vae);
        return;
    }
    float factor = (float)(1 / self->vae->config.scaling_factor);
    struct tensor z = tensor_take(s, 1, self->h, self->w, self->from.c);
    scale(s, z, self->from, factor);
    vae_decode(s, self->to, z, self->vae);
    tensor_give(s, &z);
}

static bool make_tensors(struct vae_pass *self, struct error *error)
{
    const struct vae *vae = self->vae;
    size_t f = vae_factor(vae), c = vae->config.latent_channels;
    size_t h = self->h, w = self->w;
    bool encodes = self->way == VAE_ENCODES;
    struct tensor *picture = encodes ? &self->from : &self->to;
    return tensor_new(picture, self->gpu, vae->dtype, 1, h * f, w * f,
                      VAE_PICTURE_CHANNELS, error) &&
           (encodes
                ? tensor_new(&self->to, self->gpu, vae->dtype, 1, h, w, 2 * c, error)
                : tensor_new(&self->from, self->gpu, DTYPE_F32, 1, h, w, c, error));
}

struct vae_pass *vae_pass_new(struct gpu *gpu, const struct vae *vae, enum vae_way way,
                              size_t h, size_t w, struct error *error)
{
    struct vae_pass *self = calloc(1, sizeof *self);
    if (!self) {
        error_set_kind(error, ERROR_MEMORY, "no memory for a plan");
        return NULL;
    }
    if (way == VAE_ENCODES && !vae_encodes(vae)) {
        free(self);
        error_set_kind(
            error, ERROR_INPUT,
            "the VAE is a decoder alone; to begin from a picture give one with "
            "an encoder");
        return NULL;
    }
    *self = (struct vae_pass){.gpu = gpu, .vae = vae, .way = way, .h = h, .w = w};
    self->stream = stream_new(gpu, vae->dtype, error);
    bool ok = self->stream && make_tensors(self, error);
    if (ok) {
        stream_plan(self->stream);
        forward(self);
        ok = stream_ready(self->stream, error);
    }
    if (!ok)
        vae_pass_destroy(&self);
    return self;
}

void vae_pass_destroy(struct vae_pass **self)
{
    if (!*self)
        return;
    stream_destroy(&(*self)->stream);
    tensor_destroy(&(*self)->from, (*self)->gpu);
    tensor_destroy(&(*self)->to, (*self)->gpu);
    free(*self);
    *self = NULL;
}

const struct stream *vae_pass_stream(const struct vae_pass *self)
{
    return self->stream;
}

bool vae_pass_fits(const struct vae_pass *self, size_t h, size_t w)
{
    return self->h == h && self->w == w;
}

/* Latents that are decoded as (x deviation / factor + mean): the factor is taken on the
 * device. */
static bool upload_normalised(struct vae_pass *self, const float *from,
                              struct error *error)
{
    const struct vae_config *c = &self->vae->config;
    size_t count = tensor_count(&self->from);
    float *values = malloc(count * sizeof *values);
    if (!values)
        return error_set_kind(error, ERROR_MEMORY, "no memory for latents");
    for (size_t i = 0; i < count; i++) {
        size_t k = i % c->latent_channels;
        values[i] =
            (float)((double)from[i] * c->deviation[k] + c->mean[k] * c->scaling_factor);
    }
    bool ok = tensor_upload(&self->from, self->gpu, values, error);
    free(values);
    return ok;
}

bool vae_pass_run(struct vae_pass *self, const float *from, float *to,
                  struct error *error)
{
    bool normalised = self->way == VAE_DECODES && self->vae->config.normalised;
    if (!(normalised ? upload_normalised(self, from, error)
                     : tensor_upload(&self->from, self->gpu, from, error)))
        return false;
    stream_run(self->stream);
    forward(self);
    if (!stream_end(self->stream, error) ||
        !tensor_download(&self->to, self->gpu, to, error))
        return false;
    size_t count = tensor_count(&self->to);
    for (size_t i = 0; i < count; i++)
        if (!isfinite(to[i]))
            return error_set_kind(error, ERROR_DEVICE,
                                  "the %s picture has values that are not finite",
                                  self->way == VAE_ENCODES ? "encoded" : "decoded");
    return true;
}
