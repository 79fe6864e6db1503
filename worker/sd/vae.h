/* AutoencoderKL: pictures to latents and back (Rombach et al. 2022); or in its place an
 * AutoencoderTiny (vae_tiny.h).
 *
 *     encoder  conv_in  block[0] .. block[n-1]  mid  norm, SiLU, conv_out  quant
 *     decoder  post_quant  conv_in  mid  block[0] .. block[n-1]  norm, SiLU, conv_out
 *
 * The encoder halves the size after each block but the last, the decoder doubles it.
 */
#ifndef FARM_VAE_H
#define FARM_VAE_H

#include "worker/sd/resnet.h"
#include "worker/sd/self_attention.h"
#include "worker/sd/vae_tiny.h"

enum { VAE_LEVELS_MOST = 8, VAE_LAYERS_MOST = 16, VAE_PICTURE_CHANNELS = 3 };
enum { VAE_NORMALISED_MOST = 64 };

struct vae_config {
    size_t latent_channels;
    size_t levels, channels[VAE_LEVELS_MOST]; /* finest first */
    size_t layers;                            /* of an encoder's block; decoder's + 1 */
    size_t groups;
    enum activation activation; /* act_fn, of the resnets or the tiny one's blocks */
    bool attends_down[VAE_LEVELS_MOST], attends_up[VAE_LEVELS_MOST]; /* after resnets */
    bool mid_attends, quant, post_quant;
    double scaling_factor; /* latents as the UNet sees them / as the VAE does */
    bool normalised;       /* SDXL's pipelines honour latents_mean and latents_std */
    double mean[VAE_NORMALISED_MOST], deviation[VAE_NORMALISED_MOST]; /* by channel */
    bool force_upcast; /* activations overflow in f16 */
    size_t sample;     /* pixels a side of what it was trained on; 0: 512 */
    bool tiny;         /* AutoencoderTiny, of these shapes */
    struct vae_tiny_shape tiny_encoder, tiny_decoder;
};

struct vae_block {
    size_t layers;
    bool attends, resizes;
    struct resnet resnet[VAE_LAYERS_MOST + 1];
    struct self_attention
        attention[VAE_LAYERS_MOST + 1]; /* one head; where it attends */
    struct conv resize;
};

struct vae_side {
    struct conv conv_in;
    struct resnet mid_first, mid_last;
    bool mid_attends;
    struct self_attention mid_attention; /* one head */
    struct vae_block *block;             /* levels */
    struct norm norm_out;
    struct conv conv_out;
};

struct vae {
    struct vae_config config;
    enum dtype dtype; /* of weights and activations */
    struct vae_side encoder, decoder;
    struct conv quant, post_quant; /* 1x1; unused where the configuration has none */
    struct vae_tiny_side tiny_encoder, tiny_decoder;
};

/* ERROR_INPUT "vae/config.json: KEY is VALUE; what is supported". */
bool vae_config_load(struct vae_config *self, const char *path, const char *name,
                     struct error *error);

/* What a configuration from elsewhere must keep to, too: ERROR_INPUT naming the number. */
bool vae_config_check(const struct vae_config *self, struct error *error);

/* The weights that self->config asks for; the rest of *self is zero before. *self is
 * cleared when one is missing or misshapen. */
bool vae_load(struct vae *self, struct gpu *gpu, enum dtype dtype,
              struct checkpoint *from, struct error *error);
void vae_clear(struct vae *self, struct gpu *gpu);

/* Pixels per latent, in each direction. */
size_t vae_factor(const struct vae *self);

/* x [n, h, w, latent_channels], already divided by the scaling factor; y [n, h f, w f,
 * 3], about -1 .. 1, not clamped. */
void vae_decode(struct stream *s, struct tensor y, struct tensor x,
                const struct vae *w);

/* Whether it can encode: a file may hold a tiny one's decoder alone. */
bool vae_encodes(const struct vae *self);

/* x [n, h f, w f, 3] in -1 .. 1; y [n, h, w, 2 latent_channels]: mean and log
 * variance of the posterior; a tiny one has no variance, what stands there means nothing. */
void vae_encode(struct stream *s, struct tensor y, struct tensor x,
                const struct vae *w);

#endif
