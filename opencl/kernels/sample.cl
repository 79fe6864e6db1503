/* Latents around the model: its input, and one sampler step on its output
 *
 *   struct step      25 words as ops.h has them, read from a small buffer so that every step
 *                    enqueues the same commands
 *   sample_input     y[row][i] = input_scale x[row mod n][i]; work-item i of y
 *   sample_factor    a work-group of LANES an image: factor[image] of rescaled guidance, 1
 *                    where rescale is 0; each item sums a stripe, a fixed tree the items
 *   sample_update    work-item i of the n h w c latents; e holds n rows, or 2n with the
 *                    unconditional ones first
 *
 * Latents, noise and history are float. Cost: one read of each, one write. The order of
 * additions is fixed: x, e, d, history 0 .. 3, noise, e without the prompt.
 */
#include "common.cl"

struct step {
    float timestep, input_scale, guidance, rescale;
    float d_x, d_e, clip;
    float x_x, x_e, x_d, h[4], noise;
    float keep_x, keep_d, keep_h[4];
    float x_u, keep_u;
    int save, keep;
};

__kernel void step_write(__global float *step, float16 words, float16 more)
{
    vstore16(words, 0, step);
    vstore4(more.lo.lo, 4, step);
    step[20] = more.s4;
    step[21] = more.s5;
    step[22] = more.s6;
    step[23] = more.s7;
    step[24] = more.s8;
}

__kernel void sample_input(__global y_type *y, __global const float *x,
                           __global const struct step *step, int count)
{
    int i = get_global_id(0);
    STORE_Y(step->input_scale * x[i % count], y, i);
}

INLINE float guided(float cond, float uncond, float guidance)
{
    return fma(guidance, cond - uncond, uncond);
}

#ifdef LANES
INLINE float reduce(float value, __local float *scratch)
{
    int lane = get_local_id(0);
    barrier(CLK_LOCAL_MEM_FENCE);
    scratch[lane] = value;
    for (int half_width = LANES / 2; half_width > 0; half_width /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane < half_width)
            scratch[lane] += scratch[lane + half_width];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    return scratch[0];
}

__kernel __attribute__((reqd_work_group_size(LANES, 1, 1))) void
sample_factor(__global float *factor, __global const x_type *e,
              __global const struct step *step, int values, int count)
{
    __local float scratch[LANES];
    int image = get_group_id(0), lane = get_local_id(0);
    int uncond = image * values, cond = count + image * values;
    float rescale = step->rescale, guidance = step->guidance;
    if (rescale == 0) {
        if (lane == 0)
            factor[image] = 1;
        return;
    }
    float sums[2] = {0, 0}, squares[2] = {0, 0};
    for (int i = lane; i < values; i += LANES) {
        float c = LOAD_X(e, cond + i);
        sums[0] += c;
        sums[1] += guided(c, LOAD_X(e, uncond + i), guidance);
    }
    float mean[2];
    for (int k = 0; k < 2; k++)
        mean[k] = reduce(sums[k], scratch) / values;
    for (int i = lane; i < values; i += LANES) {
        float c = LOAD_X(e, cond + i);
        float g = guided(c, LOAD_X(e, uncond + i), guidance) - mean[1];
        c -= mean[0];
        squares[0] = fma(c, c, squares[0]);
        squares[1] = fma(g, g, squares[1]);
    }
    float text = reduce(squares[0], scratch), both = reduce(squares[1], scratch);
    if (lane == 0)
        factor[image] = 1 - rescale + rescale * sqrt(text / both);
}
#endif

/* Unused history may hold anything, NaN included. */
INLINE void weigh(__global const struct step *step, int slot, float value, float *next,
                  float *kept)
{
    if (step->h[slot] != 0)
        *next = fma(step->h[slot], value, *next);
    if (step->keep_h[slot] != 0)
        *kept = fma(step->keep_h[slot], value, *kept);
}

INLINE void store(__global const struct step *step, int slot, __global float *history,
                  float d, float kept)
{
    if (step->save == slot)
        *history = d;
    if (step->keep == slot)
        *history = kept;
}

__kernel void sample_update(__global float *x, __global const x_type *e,
                            __global const float *factor, __global float *history0,
                            __global float *history1, __global float *history2,
                            __global float *history3, __global const float *z,
                            __global const struct step *step, int count, int values,
                            int paired)
{
    int i = get_global_id(0);
    float was = x[i];
    float model = LOAD_X(e, paired ? count + i : i);
    float uncond = LOAD_X(e, i);
    if (paired && step->guidance != 1)
        model = factor[i / values] * guided(model, uncond, step->guidance);
    float d = fma(step->d_x, was, step->d_e * model);
    if (step->clip > 0)
        d = clamp(d, -step->clip, step->clip);

    float next = fma(step->x_x, was, fma(step->x_e, model, step->x_d * d));
    float kept = fma(step->keep_x, was, step->keep_d * d);
    weigh(step, 0, history0[i], &next, &kept);
    weigh(step, 1, history1[i], &next, &kept);
    weigh(step, 2, history2[i], &next, &kept);
    weigh(step, 3, history3[i], &next, &kept);
    if (step->noise != 0)
        next = fma(step->noise, z[i], next);
    if (step->x_u != 0)
        next = fma(step->x_u, uncond, next);
    if (step->keep_u != 0)
        kept = fma(step->keep_u, uncond, kept);
    x[i] = next;

    store(step, 0, history0 + i, d, kept);
    store(step, 1, history1 + i, d, kept);
    store(step, 2, history2 + i, d, kept);
    store(step, 3, history3 + i, d, kept);
}
