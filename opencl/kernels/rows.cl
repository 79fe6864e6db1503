/* Images with several prompts each
 *
 *   source         int [rows]: the image a row belongs to; the first n rows are the n
 *                  images' own, in order, without a prompt
 *   rows_spread    y[row] = x[source[row]]; work-item (place, row of y)
 *   rows_compose   y[i] = x[i], y[n + i] = x[i] + sum of weight[r] (x[r] - x[i]) over the
 *                  rows r >= n of image i, in order; an image with one such row of weight 1
 *                  gets it as it is, as it would beside no others; work-item (place, image)
 *
 * Liu et al. 2022, "Compositional Visual Generation with Composable Diffusion Models".
 * Cost: a read and a write of each; rows_compose walks the sources of all rows.
 */
#include "common.cl"

__kernel void rows_spread(__global y_type *y, __global const x_type *x,
                          __global const int *source, int places, int images)
{
    size_t i = get_global_id(0);
    size_t row = get_global_id(1);
    size_t image = clamp(source[row], 0, images - 1);
    STORE_Y(LOAD_X(x, image * places + i), y, row * places + i);
}

__kernel void rows_compose(__global y_type *y, __global const x_type *x,
                           __global const int *source, __global const float *weight,
                           int places, int images, int rows)
{
    size_t i = get_global_id(0);
    int image = get_global_id(1);
    float own = LOAD_X(x, (size_t)image * places + i);
    float sum = own, only = own;
    int parts = 0, plain = 1;
    for (int row = images; row < rows; row++) {
        if (source[row] != image)
            continue;
        only = LOAD_X(x, (size_t)row * places + i);
        sum = fma(weight[row], only - own, sum);
        plain = plain && weight[row] == 1 && ++parts == 1;
    }
    if (plain)
        sum = only;
    STORE_Y(own, y, (size_t)image * places + i);
    STORE_Y(sum, y, (size_t)(images + image) * places + i);
}
