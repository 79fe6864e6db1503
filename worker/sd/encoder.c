#include "worker/sd/encoder.h"

#include <math.h>
#include <stdlib.h>

struct encoder {
    struct gpu *gpu;
    const struct vae *vae;
    struct stream *stream;
    struct tensor picture; /* [1, h f, w f, 3] */
    struct tensor moments; /* [1, h, w, 2c] */
};

struct encoder *encoder_new(struct gpu *gpu, enum dtype dtype, const struct vae *vae,
                            size_t h, size_t w, struct error *error)
{
    size_t f = vae_factor(vae);
    struct encoder *self = calloc(1, sizeof *self);
    if (!self) {
        error_set_kind(error, ERROR_MEMORY, "no memory for a plan");
        return NULL;
    }
    self->gpu = gpu;
    self->vae = vae;
    self->stream = stream_new(gpu, dtype, error);
    bool ok = self->stream &&
              tensor_new(&self->picture, gpu, dtype, 1, h * f, w * f,
                         VAE_PICTURE_CHANNELS, error) &&
              tensor_new(&self->moments, gpu, dtype, 1, h, w,
                         2 * vae->config.latent_channels, error);
    if (ok) {
        stream_plan(self->stream);
        vae_encode(self->stream, self->moments, self->picture, vae);
        ok = stream_ready(self->stream, error);
    }
    if (!ok)
        encoder_destroy(&self);
    return self;
}

void encoder_destroy(struct encoder **self)
{
    if (!*self)
        return;
    stream_destroy(&(*self)->stream);
    tensor_destroy(&(*self)->picture, (*self)->gpu);
    tensor_destroy(&(*self)->moments, (*self)->gpu);
    free(*self);
    *self = NULL;
}

bool encoder_fits(const struct encoder *self, size_t h, size_t w)
{
    return self->moments.h == h && self->moments.w == w;
}

bool encoder_run(struct encoder *self, const float *picture, float *moments,
                 struct error *error)
{
    if (!tensor_upload(&self->picture, self->gpu, picture, error))
        return false;
    stream_run(self->stream);
    vae_encode(self->stream, self->moments, self->picture, self->vae);
    if (!stream_end(self->stream, error) ||
        !tensor_download(&self->moments, self->gpu, moments, error))
        return false;
    size_t count = tensor_count(&self->moments);
    for (size_t i = 0; i < count; i++)
        if (!isfinite(moments[i]))
            return error_set_kind(error, ERROR_DEVICE,
                                  "the encoded picture has values that are not finite");
    return true;
}

void posterior(float *latents, const float *moments, const float *noise, size_t count,
               size_t c, double factor)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < c; k++) {
            float mean = moments[i * 2 * c + k], value = mean;
            if (noise) {
                float variance = moments[i * 2 * c + c + k];
                variance = fminf(fmaxf(variance, -30), 20);
                value = mean + expf(0.5F * variance) * noise[i * c + k];
            }
            latents[i * c + k] = (float)factor * value;
        }
}
