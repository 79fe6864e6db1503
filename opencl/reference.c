#include "opencl/reference.h"

#include <math.h>
#include <stdlib.h>

double reference_activate(double x, enum activation activation)
{
    switch (activation) {
    case ACTIVATION_SILU:
        return x / (1 + exp(-x));
    case ACTIVATION_GELU:
    case ACTIVATION_GEGLU:
        return 0.5 * x * (1 + erf(x * 0.70710678118654752));
    case ACTIVATION_QUICK_GELU:
        return x / (1 + exp(-1.702 * x));
    case ACTIVATION_GELU_TANH:
        return 0.5 * x * (1 + tanh(0.79788456080286536 * (x + 0.044715 * x * x * x)));
    case ACTIVATION_MISH:
        return x * tanh(log1p(exp(x)));
    case ACTIVATION_RELU:
        return x > 0 ? x : 0;
    case ACTIVATION_SOFT_CLAMP:
        return 3 * tanh(x / 3);
    case ACTIVATION_NONE:
        break;
    }
    return x;
}

static double dot(const float *a, const float *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

void reference_linear(double *y, const float *x, const float *weight, const float *bias,
                      const float *residual, size_t rows, size_t in, size_t out,
                      enum activation activation)
{
    bool geglu = activation == ACTIVATION_GEGLU;
    size_t columns = geglu ? out / 2 : out;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) {
            double value = dot(x + r * in, weight + c * in, in);
            value += bias ? bias[c] : 0;
            if (geglu) {
                size_t gate = columns + c;
                double g = dot(x + r * in, weight + gate * in, in);
                value *= reference_activate(g + (bias ? bias[gate] : 0), activation);
            } else {
                value = reference_activate(value, activation);
            }
            y[r * columns + c] = value + (residual ? residual[r * columns + c] : 0);
        }
}

static size_t conv_length(const struct reference_conv *self, size_t length, size_t up)
{
    size_t padding = self->pad_end ? 1 : 2 * (self->size / 2);
    return ((up ? up : length) + padding - self->size) / self->stride + 1;
}

size_t reference_conv_height(const struct reference_conv *self)
{
    return conv_length(self, self->h, self->up_h);
}

size_t reference_conv_width(const struct reference_conv *self)
{
    return conv_length(self, self->w, self->up_w);
}

/* The sum over the neighbourhood of one output value. */
static double conv_at(const float *x, const struct reference_conv *self, size_t oy,
                      size_t ox, size_t out)
{
    size_t size = self->size, pad = self->pad_end ? 0 : size / 2;
    size_t up_h = self->up_h ? self->up_h : self->h;
    size_t up_w = self->up_w ? self->up_w : self->w;
    double sum = 0;
    for (size_t dy = 0; dy < size; dy++)
        for (size_t dx = 0; dx < size; dx++) {
            size_t sy = oy * self->stride + dy - pad, sx = ox * self->stride + dx - pad;
            if (sy >= up_h || sx >= up_w) /* also what wrapped below zero */
                continue;
            sy = sy * self->h / up_h;
            sx = sx * self->w / up_w;
            for (size_t c = 0; c < self->in; c++)
                sum += (double)x[(sy * self->w + sx) * self->in + c] *
                       self->weight[((out * self->in + c) * size + dy) * size + dx];
        }
    return sum;
}

void reference_conv(double *y, const float *x, const struct reference_conv *self)
{
    size_t h = reference_conv_height(self), w = reference_conv_width(self);
    for (size_t n = 0; n < self->n; n++)
        for (size_t p = 0; p < h * w; p++)
            for (size_t c = 0; c < self->out; c++) {
                size_t at = (n * h * w + p) * self->out + c;
                double value = conv_at(x + n * self->h * self->w * self->in, self,
                                       p / w, p % w, c);
                value += self->bias ? self->bias[c] : 0;
                value += self->row_bias ? self->row_bias[n * self->out + c] : 0;
                value = reference_activate(value, self->activation);
                y[at] = value + (self->residual ? self->residual[at] : 0);
            }
}

void reference_group_norm(double *y, const float *x, const float *gamma,
                          const float *beta, size_t n, size_t rows, size_t channels,
                          size_t groups, double eps, enum activation activation)
{
    size_t width = channels / groups;
    for (size_t i = 0; i < n * groups; i++) {
        size_t first = i / groups * rows * channels + i % groups * width;
        double mean = 0, squares = 0, count = (double)(rows * width);
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < width; c++)
                mean += x[first + r * channels + c] / count;
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < width; c++)
                squares += pow(x[first + r * channels + c] - mean, 2);
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < width; c++) {
                size_t at = first + r * channels + c, channel = i % groups * width + c;
                double value = (x[at] - mean) / sqrt(squares / count + eps);
                y[at] = reference_activate(value * gamma[channel] + beta[channel],
                                           activation);
            }
    }
}

void reference_layer_norm(double *y, const float *x, const float *gamma,
                          const float *beta, size_t rows, size_t channels, double eps)
{
    for (size_t r = 0; r < rows; r++, x += channels, y += channels) {
        double mean = 0, squares = 0;
        for (size_t c = 0; c < channels; c++)
            mean += x[c] / (double)channels;
        for (size_t c = 0; c < channels; c++)
            squares += pow(x[c] - mean, 2);
        for (size_t c = 0; c < channels; c++)
            y[c] = (x[c] - mean) / sqrt(squares / (double)channels + eps) * gamma[c] +
                   beta[c];
    }
}

void reference_attention(double *y, const float *q, const float *k, const float *v,
                         size_t n, size_t queries, size_t keys, size_t channels,
                         size_t heads, bool causal, const int32_t *key_counts)
{
    size_t width = channels / heads;
    for (size_t row = 0; row < n * queries; row++)
        for (size_t head = 0; head < heads; head++) {
            size_t i = row / queries, query = row % queries;
            size_t count = key_counts ? (size_t)key_counts[i] : keys;
            if (causal && query + 1 < count)
                count = query + 1;
            const float *own = q + row * channels + head * width;
            const float *key = k + i * keys * channels + head * width;
            const float *value = v + i * keys * channels + head * width;
            double *into = y + row * channels + head * width, top = -1e300, total = 0;
            for (size_t j = 0; j < count; j++)
                top = fmax(top, dot(own, key + j * channels, width));
            for (size_t c = 0; c < width; c++)
                into[c] = 0;
            for (size_t j = 0; j < count; j++) {
                double score = dot(own, key + j * channels, width) - top;
                double weight = exp(score / sqrt((double)width));
                total += weight;
                for (size_t c = 0; c < width; c++)
                    into[c] += weight * value[j * channels + c];
            }
            for (size_t c = 0; c < width; c++)
                into[c] = count ? into[c] / total : 0;
        }
}

double relative_error(const float *got, const double *want, size_t count)
{
    double off = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(got[i]))
            return INFINITY;
        off += pow(got[i] - want[i], 2);
        size += pow(want[i], 2);
    }
    return size > 0 ? sqrt(off / size) : sqrt(off);
}
