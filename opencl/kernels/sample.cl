/* Latents around the model: its input, and one sampler step on its output
 *
 *   struct step      15 words as ops.h has them, read from a small buffer so that every step
 *                    enqueues the same commands
 *   sample_input     y[row][i] = input_scale x[row mod n][i]; work-item i of y
 *   sample_update    work-item i of the n h w c latents; e holds n rows, or 2n with the
 *                    unconditional ones first
 *
 * Latents, noise and history are float. Cost: one read of each, one write. The order of
 * additions is fixed: x, e, d, history 0 .. 3, noise.
 */
#include "common.cl"

struct step {
    float timestep, input_scale, guidance;
    float d_x, d_e, clip;
    float x_x, x_e, x_d, h[4], noise;
    int save;
};

__kernel void step_write(__global float *step, float16 words)
{
    vstore8(words.lo, 0, step);
    vstore4(words.s89ab, 2, step);
    step[12] = words.sc;
    step[13] = words.sd;
    step[14] = words.se;
}

__kernel void sample_input(__global y_type *y, __global const float *x,
                           __global const struct step *step, int count)
{
    int i = get_global_id(0);
    STORE_Y(step->input_scale * x[i % count], y, i);
}

__kernel void sample_update(__global float *x, __global const x_type *e,
                            __global float *history0, __global float *history1,
                            __global float *history2, __global float *history3,
                            __global const float *z, __global const struct step *step,
                            int count, int paired)
{
    int i = get_global_id(0);
    float was = x[i];
    float model = LOAD_X(e, paired ? count + i : i);
    if (paired && step->guidance > 1) {
        float uncond = LOAD_X(e, i);
        model = fma(step->guidance, model - uncond, uncond);
    }
    float d = fma(step->d_x, was, step->d_e * model);
    if (step->clip > 0)
        d = clamp(d, -step->clip, step->clip);

    float next = fma(step->x_x, was, fma(step->x_e, model, step->x_d * d));
    /* Unused history may hold anything, NaN included. */
    if (step->h[0] != 0)
        next = fma(step->h[0], history0[i], next);
    if (step->h[1] != 0)
        next = fma(step->h[1], history1[i], next);
    if (step->h[2] != 0)
        next = fma(step->h[2], history2[i], next);
    if (step->h[3] != 0)
        next = fma(step->h[3], history3[i], next);
    if (step->noise != 0)
        next = fma(step->noise, z[i], next);
    x[i] = next;

    if (step->save == 0)
        history0[i] = d;
    else if (step->save == 1)
        history1[i] = d;
    else if (step->save == 2)
        history2[i] = d;
    else if (step->save == 3)
        history3[i] = d;
}
