/* ResnetBlock2D of UNet and VAE, and the convolutions that change the size between them.
 *
 *     x -- norm1, act -- conv1 (+ time) -- norm2, act -- conv2 --(+)-- y
 *      \---------------- shortcut, where in != out ----------------/
 */
#ifndef FARM_RESNET_H
#define FARM_RESNET_H

#include "worker/sd/loader.h"

/* What all resnets of a model have in common. */
struct resnet_kind {
    size_t time_width; /* 0: a VAE's, without time */
    size_t groups;
    float eps;
    enum activation activation; /* act_fn */
    bool scale_shift;           /* time scales and shifts norm2's output */
};

struct resnet {
    struct resnet_kind kind;
    size_t in, out;
    struct norm norm1;    /* in */
    struct conv conv1;    /* in -> out, 3x3 */
    struct linear time;   /* time width -> out, or 2 out where scale_shift */
    struct norm norm2;    /* out */
    struct conv conv2;    /* out -> out, 3x3 */
    struct conv shortcut; /* in -> out, 1x1; unused where in == out */
};

void resnet_load(struct resnet *self, struct loader *l, const char *prefix, size_t in,
                 size_t out, const struct resnet_kind *kind);
void resnet_clear(struct resnet *self, struct gpu *gpu);

/* x [n, h, w, in], time [n, 1, 1, time width] already through the activation, NULL without. Returns
 * a tensor [n, h, w, out] for the caller to give back; x stays. */
struct tensor resnet_forward(struct stream *s, struct tensor x,
                             const struct tensor *time, const struct resnet *w);

/* Convolution of stride 2: to half the size, odd sizes rounded up; pad_end rounds down and
 * pads right and below only. Returns a new tensor; x stays. */
struct tensor downsample(struct stream *s, struct tensor x, const struct conv *w,
                         bool pad_end);

/* Nearest to h x w, then the convolution. Returns a new tensor; x is given back. */
struct tensor upsample(struct stream *s, struct tensor x, const struct conv *w,
                       size_t h, size_t width);

#endif
