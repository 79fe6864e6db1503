#include "worker/sd/resnet.h"

void resnet_load(struct resnet *self, struct loader *l, const char *prefix, size_t in,
                 size_t out, const struct resnet_kind *kind)
{
    self->kind = *kind;
    self->in = in;
    self->out = out;
    load_norm(l, &self->norm1, in, kind->eps, "%s.norm1", prefix);
    load_conv(l, &self->conv1, in, out, 3, "%s.conv1", prefix);
    if (kind->time_width)
        load_linear(l, &self->time, kind->time_width, kind->scale_shift ? 2 * out : out,
                    LINEAR_BIAS, "%s.time_emb_proj", prefix);
    load_norm(l, &self->norm2, out, kind->eps, "%s.norm2", prefix);
    load_conv(l, &self->conv2, out, out, 3, "%s.conv2", prefix);
    if (in != out)
        load_conv(l, &self->shortcut, in, out, 1, "%s.conv_shortcut", prefix);
}

void resnet_clear(struct resnet *self, struct gpu *gpu)
{
    norm_clear(&self->norm1, gpu);
    conv_clear(&self->conv1, gpu);
    linear_clear(&self->time, gpu);
    norm_clear(&self->norm2, gpu);
    conv_clear(&self->conv2, gpu);
    conv_clear(&self->shortcut, gpu);
}

struct tensor resnet_forward(struct stream *s, struct tensor x,
                             const struct tensor *time, const struct resnet *w)
{
    const struct resnet_kind *kind = &w->kind;
    bool timed = kind->time_width, modulates = kind->scale_shift;
    struct tensor row = {0};
    if (timed) {
        row = tensor_take(s, x.n, 1, 1, w->time.out);
        linear(s, row, *time, &w->time, ACTIVATION_NONE, NULL);
    }
    struct tensor normed = tensor_take(s, x.n, x.h, x.w, w->in);
    struct tensor hidden = tensor_take(s, x.n, x.h, x.w, w->out);
    group_norm(s, normed, x, &w->norm1, kind->groups, kind->activation);
    conv2d(s, hidden, normed, &w->conv1,
           &(struct conv_options){.row_bias = timed && !modulates ? &row : NULL});
    tensor_give(s, &normed);
    group_norm(s, hidden, hidden, &w->norm2, kind->groups,
               modulates ? ACTIVATION_NONE : kind->activation);
    if (modulates)
        modulate(s, hidden, hidden, row, kind->activation);
    if (timed)
        tensor_give(s, &row);

    struct tensor residual = x;
    if (w->in != w->out) {
        residual = tensor_take(s, x.n, x.h, x.w, w->out);
        conv2d(s, residual, x, &w->shortcut, &(struct conv_options){0});
    }
    struct tensor y = tensor_take(s, x.n, x.h, x.w, w->out);
    conv2d(s, y, hidden, &w->conv2, &(struct conv_options){.residual = &residual});
    tensor_give(s, &hidden);
    if (w->in != w->out)
        tensor_give(s, &residual);
    return y;
}

struct tensor downsample(struct stream *s, struct tensor x, const struct conv *w,
                         bool pad_end)
{
    size_t round_up = pad_end ? 0 : 1;
    struct tensor y =
        tensor_take(s, x.n, (x.h + round_up) / 2, (x.w + round_up) / 2, w->out);
    conv2d(s, y, x, w, &(struct conv_options){.stride = 2, .pad_end = pad_end});
    return y;
}

struct tensor upsample(struct stream *s, struct tensor x, const struct conv *w,
                       size_t h, size_t width)
{
    struct tensor y = tensor_take(s, x.n, h, width, w->out);
    conv2d(s, y, x, w, &(struct conv_options){.up_h = h, .up_w = width});
    tensor_give(s, &x);
    return y;
}
