#include "worker/sd/decoder.h"

#include <math.h>
#include <stdlib.h>

struct decoder {
    struct gpu *gpu;
    const struct vae *vae;
    struct stream *stream;
    struct tensor latents; /* [1, h, w, c] f32 */
    struct tensor picture; /* [1, h f, w f, 3] */
};

static void forward(struct decoder *self)
{
    struct stream *s = self->stream;
    const struct tensor *latents = &self->latents;
    float factor = (float)(1 / self->vae->config.scaling_factor);
    struct tensor z = tensor_take(s, 1, latents->h, latents->w, latents->c);
    scale(s, z, *latents, factor);
    vae_decode(s, self->picture, z, self->vae);
    tensor_give(s, &z);
}

struct decoder *decoder_new(struct gpu *gpu, enum dtype dtype, const struct vae *vae,
                            size_t h, size_t w, struct error *error)
{
    size_t f = vae_factor(vae);
    struct decoder *self = calloc(1, sizeof *self);
    if (!self) {
        error_set_kind(error, ERROR_MEMORY, "no memory for a plan");
        return NULL;
    }
    self->gpu = gpu;
    self->vae = vae;
    self->stream = stream_new(gpu, dtype, error);
    bool ok = self->stream &&
              tensor_new(&self->latents, gpu, DTYPE_F32, 1, h, w,
                         vae->config.latent_channels, error) &&
              tensor_new(&self->picture, gpu, dtype, 1, h * f, w * f,
                         VAE_PICTURE_CHANNELS, error);
    if (ok) {
        stream_plan(self->stream);
        forward(self);
        ok = stream_ready(self->stream, error);
    }
    if (!ok)
        decoder_destroy(&self);
    return self;
}

void decoder_destroy(struct decoder **self)
{
    if (!*self)
        return;
    stream_destroy(&(*self)->stream);
    tensor_destroy(&(*self)->latents, (*self)->gpu);
    tensor_destroy(&(*self)->picture, (*self)->gpu);
    free(*self);
    *self = NULL;
}

bool decoder_fits(const struct decoder *self, size_t h, size_t w)
{
    return self->latents.h == h && self->latents.w == w;
}

bool decoder_pixels(struct decoder *self, const float *latents, float *pixels,
                    struct error *error)
{
    if (!tensor_upload(&self->latents, self->gpu, latents, error))
        return false;
    stream_run(self->stream);
    forward(self);
    if (!stream_end(self->stream, error) ||
        !tensor_download(&self->picture, self->gpu, pixels, error))
        return false;
    size_t count = tensor_count(&self->picture);
    for (size_t i = 0; i < count; i++)
        if (!isfinite(pixels[i]))
            return error_set_kind(error, ERROR_DEVICE,
                                  "the decoded picture has values that are not finite");
    return true;
}

void decoder_round(uint8_t *rgb, const float *pixels, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float unit = fminf(fmaxf(pixels[i] * 0.5F + 0.5F, 0), 1);
        rgb[i] = (uint8_t)rintf(unit * 255);
    }
}
