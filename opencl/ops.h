/* The operations a model's forward function is made of.
 *
 * All tensors are NHWC (tensor.h); y is written, the rest is read; y is never an input
 * unless said. Wrong shapes are the programmer's mistake and asserted. What an op computes
 * for one batch row depends on that row alone, bit for bit. Each op lies in
 * op_<name>.c with its kernels in kernels/<name>.cl.
 */
#ifndef FARM_OPS_H
#define FARM_OPS_H

#include "opencl/pack.h"
#include "opencl/stream.h"

enum activation {
    ACTIVATION_NONE,
    ACTIVATION_SILU,
    ACTIVATION_GELU,       /* exact, with erf */
    ACTIVATION_QUICK_GELU, /* x sigmoid(1.702 x) */
    ACTIVATION_GEGLU,      /* linear only: first half times gelu(second half) */
    ACTIVATION_GELU_TANH,  /* 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) */
    ACTIVATION_MISH,       /* x tanh(log(1 + exp(x))) */
    ACTIVATION_RELU,
    ACTIVATION_SOFT_CLAMP, /* 3 tanh(x / 3) */
};

/* ---- op_linear.c: y = act(x W^T + b) (+ residual) */

struct linear {
    size_t in, out; /* W is [out, in]; with GEGLU y has out / 2 columns */
    bool geglu;     /* packed so that a column stands beside its gate */
    struct packed packed;
};

/* `weight` is [out, in] or [out, in, 1, 1]; `bias` [out] or NULL. Converts and packs. */
bool linear_load(struct linear *self, struct gpu *gpu, enum dtype dtype, bool geglu,
                 const struct host_tensor *weight, const struct host_tensor *bias,
                 struct error *error);
void linear_clear(struct linear *self, struct gpu *gpu);

/* x [rows, in], y [rows, out], residual (NULL or y's shape, may be y) added after the
 * activation. */
void linear(struct stream *s, struct tensor y, struct tensor x, const struct linear *w,
            enum activation activation, const struct tensor *residual);

/* ---- op_conv.c: y = act(conv(x) + b + row_bias) (+ residual), 3x3 or 1x1 */

struct conv {
    size_t in, out, size; /* size: 3 or 1 */
    struct packed packed;
};

/* `weight` is [out, in, size, size]. */
bool conv_load(struct conv *self, struct gpu *gpu, enum dtype dtype,
               const struct host_tensor *weight, const struct host_tensor *bias,
               struct error *error);
void conv_clear(struct conv *self, struct gpu *gpu);

struct conv_options {
    unsigned stride; /* 1 (also when 0) or 2 */
    bool pad_end; /* pad right and bottom by one instead of all round (3x3, stride 2) */
    size_t up_h, up_w; /* not 0: x is first enlarged to this size, nearest:
                            source = floor(i * in / out), as torch's nearest */
    enum activation activation;
    const struct tensor *row_bias; /* [n, 1, 1, out]: time embedding; NULL: none */
    const struct tensor *residual; /* y's shape; NULL: none */
};

/* Same padding (size / 2 all round) unless pad_end. y's size follows from x's. */
void conv2d(struct stream *s, struct tensor y, struct tensor x, const struct conv *w,
            const struct conv_options *options);

/* ---- op_norm.c */

struct norm {
    size_t c;
    cl_mem gamma, beta; /* f32 [c] */
    float eps;
};

bool norm_load(struct norm *self, struct gpu *gpu, float eps,
               const struct host_tensor *gamma, const struct host_tensor *beta,
               struct error *error);
void norm_clear(struct norm *self, struct gpu *gpu);

/* Over h x w x (c / groups) of each row and group, f32, variance in two passes. Any
 * activation but GEGLU. y may be x. */
void group_norm(struct stream *s, struct tensor y, struct tensor x,
                const struct norm *w, size_t groups, enum activation activation);

/* Over c of each n, h, w. y may be x. */
void layer_norm(struct stream *s, struct tensor y, struct tensor x,
                const struct norm *w);

/* ---- op_attention.c: softmax(q k^T / sqrt(c / heads)) v for each head */

struct attention_options {
    size_t heads;      /* heads lie side by side in c */
    bool causal;       /* token i sees tokens 0 .. i */
    cl_mem key_counts; /* int32 [n]: keys of each row that count; NULL: all */
};

/* q, y [n, h, w, c] with h w queries; k, v [n, kh, kw, c] with kh kw keys. Any head width. */
void attention(struct stream *s, struct tensor y, struct tensor q, struct tensor k,
               struct tensor v, const struct attention_options *options);

/* ---- op_embed.c */

/* y[n, 0, t] = table[ids[n t]] + position[t]; ids int32 on the device [n, tokens], table
 * [1, 1, vocabulary, c], position [1, 1, at least tokens, c]. Where an id is below 0 its
 * vector is own[n t] instead, `own` [n, 1, tokens, c] of the table's dtype; it may be NULL
 * where none is. */
void token_embedding(struct stream *s, struct tensor y, cl_mem ids, struct tensor table,
                     struct tensor position, const struct tensor *own);

/* y [n, 1, 1, c]: DDPM's sinusoidal embedding of the step's timestep (step.h), the same
 * for every row: [sin, cos] or, flipped, [cos, sin] of t exp(-ln(10000) i /
 * (c/2 - freq_shift)). `step` as sample_input takes it. */
void time_embedding(struct stream *s, struct tensor y, cl_mem step,
                    bool flip_sin_to_cos, float freq_shift);

/* ---- op_pointwise.c */

/* Any but GEGLU; y may be x. */
void activate(struct stream *s, struct tensor y, struct tensor x,
              enum activation activation);
void add(struct stream *s, struct tensor y, struct tensor a,
         struct tensor b); /* y may be a */

/* y = act(x (1 + scale) + shift); row [n, 1, 1, 2c]: scales, then shifts; y may be x. */
void modulate(struct stream *s, struct tensor y, struct tensor x, struct tensor row,
              enum activation activation);

/* y[..., 0 .. a.c - 1] = a, the rest b. */
void concat(struct stream *s, struct tensor y, struct tensor a, struct tensor b);

/* y = x scale, converted between dtypes as they are; y may be x. */
void scale(struct stream *s, struct tensor y, struct tensor x, float factor);

/* y = x factor + offset, in the same way. */
void affine(struct stream *s, struct tensor y, struct tensor x, float factor,
            float offset);

/* ---- op_rows.c: images with several prompts each (AND)
 *
 * `source`, int32 [rows], is the image of each row: the first n rows are the n images
 * without a prompt, in order, the others their prompts. */

/* y [rows, h, w, c] = x [n, h, w, c] of each row's image. */
void rows_spread(struct stream *s, struct tensor y, struct tensor x, cl_mem source);

/* y [2n, h, w, c]: x's first n rows, then of each image  e + sum weight[r] (x[r] - e)  with
 * e its first row and r its others; x [rows, h, w, c], weight f32 [rows]. */
void rows_compose(struct stream *s, struct tensor y, struct tensor x, cl_mem source,
                  cl_mem weight);

/* ---- op_sample.c: what happens to latents around the UNet
 *
 * One step of any sampler is linear but for one clamp, with coefficients the host knows
 * before (worker/sd/sampler.h). They are read from a small device buffer, so that every
 * step enqueues the same commands:
 *
 *     e  = guidance 1: e_cond; else e_uncond + guidance (e_cond - e_uncond),
 *          times (1 - rescale) + rescale deviation(e_cond) / deviation(e) of the image
 *     d  = d_x x + d_e e, clamped to +-clip where clip > 0
 *     x' = x_x x + x_e e + x_d d + x_u e_uncond + sum h[i] history[i] + noise z
 *     history[save] = d where save >= 0
 *     history[keep] = keep_x x + keep_d d + keep_u e_uncond + sum keep_h[i] history[i]
 *                     where keep >= 0
 *
 * Everything to the right is as it was before the step. rescale: Lin et al. 2023, "Common
 * Diffusion Noise Schedules and Sample Steps are Flawed", section 3.4.
 */
struct step {
    float timestep, input_scale, guidance, rescale;
    float d_x, d_e, clip;
    float x_x, x_e, x_d, h[4], noise;
    float keep_x, keep_d, keep_h[4];
    float x_u, keep_u; /* 0 where there are no rows without the prompt */
    int save, keep;    /* -1: nothing */
};

/* y [rows, h, w, c] = input_scale x, where rows is n (no guidance) or 2n (x twice);
 * x [n, h, w, c] f32. `step` holds one struct step. */
void sample_input(struct stream *s, struct tensor y, struct tensor x, cl_mem step);

/* x [n, h, w, c] f32 in place; e [rows, h, w, c], uncond rows first when rows is 2n;
 * history: 4 tensors like x; z like x (read only when noise is not 0, may be any then). */
void sample_update(struct stream *s, struct tensor x, struct tensor e,
                   const struct tensor history[4], struct tensor z, cl_mem step);

/* ---- op_edit.c: what pictures add around a step */

/* x = mask x + (1 - mask) (a z + b noise) in place: outside the mask the picture's own
 * latents z at the level the sampler is at. x, z, noise [n, h, w, c], mask [1, h, w, 1]; all
 * f32. */
void blend_known(struct stream *s, struct tensor x, struct tensor z,
                 struct tensor noise, struct tensor mask, float a, float b);

/* What stands outside the mask m in the place of the UNet's input x and output e, by the
 * picture's own latents z, with noise k = image z + noise times the first noise:
 * x + sees (k - x), and of_e e + of_z z + of_x x + m of_gap (x - k). */
struct hold {
    float sees, image, noise;
    float of_e, of_z, of_x, of_gap;
    float
        guidance; /* where the rows without the prompt are read by themselves; else 0 */
};

/* Latents a run is held to, like its x: the picture's own and the first noise; and where it
 * is not, 1, as it is between, or where it is, 0: [1, h, w, 1]. All f32. */
struct anchor {
    struct tensor z, noise, mask;
};

/* y [n, h, w, c] = the input, where the mask is 1 x; x like y, f32. */
void hold_input(struct stream *s, struct tensor y, struct tensor x,
                const struct anchor *held, const struct hold *hold);

/* e [rows, h, w, c] in place, row r beside x of image r % n. With a guidance, of 2n rows:
 * those without the prompt become what the UNet would have said of x to denoise to what it
 * denoises its input to, the others such that both guided are the output. */
void hold_output(struct stream *s, struct tensor e, struct tensor x,
                 const struct anchor *held, const struct hold *hold);

/* y [n, h, w, c] = sum of factors[k] e[k n ...] over three sets of n rows. */
void mix_three(struct stream *s, struct tensor y, struct tensor e,
               const float factors[3]);

/* Writes one struct step for the kernels enqueued after; *step must live until the stream
 * ends. */
void step_write(struct stream *s, cl_mem buffer, const struct step *step);

#endif
