/* AutoencoderTiny: madebyollin's TAESD, a distilled VAE of a few plain convolutions.
 *
 *     encoder  (x + 1) / 2  conv  blocks[0]  half  blocks[1]  ..  blocks[n-1]  conv
 *     decoder  3 tanh(x / 3)  conv, ReLU  blocks[0]  double  ..  blocks[n-1]  conv  2 x - 1
 *
 * Its latents are those the UNet sees, and no distribution: nothing is drawn.
 */
#ifndef FARM_VAE_TINY_H
#define FARM_VAE_TINY_H

#include "worker/sd/loader.h"

enum { TINY_LEVELS_MOST = 8, TINY_BLOCKS_MOST = 64 };

/* One way of it; levels in the order they are passed. */
struct vae_tiny_shape {
    size_t c; /* channels of all layers between the first and the last; 0: there is no
                 such side */
    size_t levels, blocks[TINY_LEVELS_MOST];
};

struct vae_tiny_block {
    struct conv conv[3]; /* y = ReLU(conv(act(conv(act(conv(x))))) + x) */
};

struct vae_tiny_side {
    struct vae_tiny_shape shape;
    enum activation activation;
    struct conv first, last;
    struct conv resize[TINY_LEVELS_MOST]; /* between two levels */
    struct vae_tiny_block *block;         /* of all levels */
};

/* The shape that a file's tensors under "encoder.layers." or "decoder.layers." say, c 0 for
 * none there; `latents` is filled with the side's latent channels where it has any. ERROR_INPUT
 * naming what makes no sense. */
bool vae_tiny_read(struct vae_tiny_shape *into, const struct checkpoint *from,
                   bool decodes, size_t *latents, struct error *error);

void vae_tiny_load(struct vae_tiny_side *self, struct loader *l,
                   const struct vae_tiny_shape *shape, enum activation activation,
                   bool decodes, size_t latents);
void vae_tiny_clear(struct vae_tiny_side *self, struct gpu *gpu);

/* As vae_decode; and as vae_encode, with the latents in the place of the mean and of what
 * follows it. */
void vae_tiny_decode(struct stream *s, struct tensor y, struct tensor x,
                     const struct vae_tiny_side *w);
void vae_tiny_encode(struct stream *s, struct tensor y, struct tensor x,
                     const struct vae_tiny_side *w);

/* How a file of the original's names has the tensor: its two Sequentials numbered from their
 * own first layer, which in the decoder is the clamp. For checkpoint_translate. */
struct vae_tiny_names {
    const char *encoder, *decoder; /* before the numbers: "taesd_decoder." */
};
bool vae_tiny_name(const void *owner, const char *tensor, struct stored *into);

#endif
