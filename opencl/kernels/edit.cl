/* What inpainting and editing by instruction add around a step
 *
 *   blend_known   work-item i of the n h w c latents; z and noise lie like them, mask is
 *                 [h, w]. Where the mask is 1 the latents stay, to the bit
 *   hold_input    work-item i of the n h w c latents
 *   hold_output   work-item i of the rows h w c outputs, beside latents i % count
 *   mix_three     work-item i of y; e holds three such sets of rows behind each other
 *
 * Cost: one read of each input, one write.
 */
#include "common.cl"

__kernel void blend_known(__global float *x, __global const float *z,
                          __global const float *noise, __global const float *mask,
                          int places, int channels, float a, float b)
{
    int i = get_global_id(0);
    float m = mask[i / channels % places];
    float known = fma(b, noise[i], a * z[i]);
    x[i] = m == 1 ? x[i] : fma(m, x[i], (1 - m) * known);
}

__kernel void hold_input(__global float *y, __global const float *x,
                         __global const float *z, __global const float *mask, int places,
                         int channels, float sees)
{
    int i = get_global_id(0);
    float m = mask[i / channels % places];
    y[i] = m == 1 ? x[i] : fma((1 - m) * sees, z[i] - x[i], x[i]);
}

__kernel void hold_output(__global y_type *e, __global const float *x,
                          __global const float *z, __global const float *mask,
                          int places, int channels, int count, float of_e, float of_z,
                          float of_x)
{
    int i = get_global_id(0), j = i % count;
    float m = mask[j / channels % places];
    if (m == 1)
        return;
    float own = LOAD_Y(e, i);
    float held = fma(of_e, own, fma(of_z, z[j], of_x * x[j]));
    STORE_Y(fma(m, own, (1 - m) * held), e, i);
}

__kernel void mix_three(__global y_type *y, __global const x_type *e, int count, float f0,
                        float f1, float f2)
{
    int i = get_global_id(0);
    float sum = f0 * LOAD_X(e, i);
    sum = fma(f1, LOAD_X(e, count + i), sum);
    sum = fma(f2, LOAD_X(e, 2 * count + i), sum);
    STORE_Y(sum, y, i);
}
