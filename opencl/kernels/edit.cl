/* What inpainting and editing by instruction add around a step
 *
 *   blend_known   work-item i of the n h w c latents; z and noise lie like them, mask is
 *                 [h, w]. Where the mask is 1 the latents stay, to the bit
 *   hold_input    work-item i of the n h w c latents; z, noise and mask likewise
 *   hold_output   work-item i of the rows h w c outputs, beside latents i % count
 *   hold_pairs    work-item i of the n h w c latents, beside output i, without the prompt,
 *                 and output count + i
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
                         __global const float *z, __global const float *noise,
                         __global const float *mask, int places, int channels,
                         float of_image, float of_noise, float sees)
{
    int i = get_global_id(0);
    float m = mask[i / channels % places];
    float known = of_noise == 0 ? of_image * z[i] : fma(of_noise, noise[i], of_image * z[i]);
    y[i] = m == 1 ? x[i] : fma((1 - m) * sees, known - x[i], x[i]);
}

INLINE float held(float m, float e, float x, float z, float known, float of_e, float of_z,
                  float of_x, float of_gap)
{
    float kept = fma(of_e, e, fma(of_z, z, of_x * x));
    return fma(m, e, (1 - m) * fma(m * of_gap, x - known, kept));
}

__kernel void hold_output(__global y_type *e, __global const float *x,
                          __global const float *z, __global const float *noise,
                          __global const float *mask, int places, int channels,
                          float of_image, float of_noise, int count, float of_e,
                          float of_z, float of_x, float of_gap, float guidance)
{
    int i = get_global_id(0), j = i % count;
    float m = mask[j / channels % places];
    if (m == 1)
        return;
    float known = fma(of_noise, noise[j], of_image * z[j]);
    STORE_Y(held(m, LOAD_Y(e, i), x[j], z[j], known, of_e, of_z, of_x, of_gap), e, i);
}

__kernel void hold_pairs(__global y_type *e, __global const float *x,
                         __global const float *z, __global const float *noise,
                         __global const float *mask, int places, int channels,
                         float of_image, float of_noise, int count, float of_e,
                         float of_z, float of_x, float of_gap, float guidance)
{
    int i = get_global_id(0);
    float m = mask[i / channels % places];
    if (m == 1)
        return;
    float known = fma(of_noise, noise[i], of_image * z[i]);
    float uncond = LOAD_Y(e, i), cond = LOAD_Y(e, count + i);
    float both = fma(guidance, cond - uncond, uncond);
    both = held(m, both, x[i], z[i], known, of_e, of_z, of_x, of_gap);
    uncond = fma((1 - m) * of_gap, x[i] - known, uncond);
    STORE_Y(uncond, e, i);
    STORE_Y(uncond + (both - uncond) / guidance, e, count + i);
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
