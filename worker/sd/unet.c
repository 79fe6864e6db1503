#include "worker/sd/unet.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* The way down: conv_in, each resnet and each downsample leave a skip. */
enum { SKIPS_MOST = 1 + UNET_LEVELS_MOST * (UNET_LAYERS_MOST + 1) };

struct skips {
    struct tensor tensor[SKIPS_MOST];
    size_t count;
};

/* time += linear(SiLU(linear(added))) */
static void added_forward(struct stream *s, struct tensor time, struct tensor added,
                          const struct unet *w)
{
    struct tensor hidden = tensor_take(s, time.n, 1, 1, w->added1.out);
    linear(s, hidden, added, &w->added1, ACTIVATION_SILU, NULL);
    linear(s, time, hidden, &w->added2, ACTIVATION_NONE, &time);
    tensor_give(s, &hidden);
}

/* Sinusoid -> linear -> SiLU -> linear, and the SiLU with which every resnet begins its
 * projection of it. */
static struct tensor time_forward(struct stream *s, size_t n, cl_mem step,
                                  const struct unet_extra *extra, const struct unet *w)
{
    struct tensor sinusoid = tensor_take(s, n, 1, 1, w->time1.in);
    struct tensor hidden = tensor_take(s, n, 1, 1, w->time1.out);
    struct tensor time = tensor_take(s, n, 1, 1, w->time2.out);
    bool more = w->config.added || w->config.classes;
    assert(!more || extra->added);
    time_embedding(s, sinusoid, step, w->config.flip_sin_to_cos, w->config.freq_shift);
    linear(s, hidden, sinusoid, &w->time1, ACTIVATION_SILU, NULL);
    linear(s, time, hidden, &w->time2, more ? ACTIVATION_NONE : ACTIVATION_SILU, NULL);
    tensor_give(s, &hidden);
    tensor_give(s, &sinusoid);
    if (w->config.added)
        added_forward(s, time, *extra->added, w);
    if (w->config.classes)
        add(s, time, time, *extra->added);
    if (more)
        silu(s, time, time);
    return time;
}

size_t unet_added_width(const struct unet *self)
{
    return self->config.classes ? self->time2.out : self->config.added;
}

void unet_class_values(const struct unet *self, size_t class, float *into)
{
    size_t width = self->time2.out;
    assert(class < self->config.classes);
    memcpy(into, self->classes + class * width, width * sizeof *into);
}

void unet_added_values(const struct unet *self, const float *pooled, const float *ids,
                       size_t count, float *into)
{
    const struct unet_config *c = &self->config;
    size_t half = c->time_ids / 2, width = c->added - count * c->time_ids;
    assert(c->added > count * c->time_ids);
    if (pooled)
        memcpy(into, pooled, width * sizeof *into);
    else
        memset(into, 0, width * sizeof *into);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < half; j++) {
            float *row = into + width + i * c->time_ids;
            float part = (float)j / ((float)half - c->freq_shift);
            float angle = ids[i] * expf(-logf(10000) * part);
            row[j] = c->flip_sin_to_cos ? cosf(angle) : sinf(angle);
            row[half + j] = c->flip_sin_to_cos ? sinf(angle) : cosf(angle);
        }
}

static void attend(struct stream *s, struct tensor x, const struct text_context *text,
                   const struct unet_block *w, size_t i)
{
    if (w->attends == ATTENDS_TEXT)
        transformer_apply(s, x, text, &w->transformer[i]);
    if (w->attends == ATTENDS_SELF)
        self_attention_add(s, x, &w->self[i]);
}

static void down_forward(struct stream *s, struct skips *skips, struct tensor time,
                         const struct text_context *text, const struct unet_block *w,
                         bool pad_end)
{
    for (size_t i = 0; i < w->layers; i++) {
        struct tensor x = skips->tensor[skips->count - 1];
        x = resnet_forward(s, x, &time, &w->resnet[i]);
        attend(s, x, text, w, i);
        skips->tensor[skips->count++] = x;
    }
    if (w->resizes) {
        struct tensor x = skips->tensor[skips->count - 1];
        skips->tensor[skips->count++] = downsample(s, x, &w->resize, pad_end);
    }
}

static struct tensor join(struct stream *s, struct tensor x, struct tensor skip)
{
    struct tensor y = tensor_take(s, x.n, x.h, x.w, x.c + skip.c);
    concat(s, y, x, skip);
    tensor_give(s, &x);
    tensor_give(s, &skip);
    return y;
}

/* Takes x over and returns what follows it. */
static struct tensor up_forward(struct stream *s, struct tensor x, struct skips *skips,
                                struct tensor time, const struct text_context *text,
                                const struct unet_block *w)
{
    for (size_t i = 0; i < w->layers; i++) {
        struct tensor joined = join(s, x, skips->tensor[--skips->count]);
        x = resnet_forward(s, joined, &time, &w->resnet[i]);
        tensor_give(s, &joined);
        attend(s, x, text, w, i);
    }
    if (!w->resizes)
        return x;
    const struct tensor *next = &skips->tensor[skips->count - 1];
    return upsample(s, x, &w->resize, next->h, next->w);
}

static struct tensor mid_forward(struct stream *s, struct tensor x, struct tensor time,
                                 const struct text_context *text, const struct unet *w)
{
    struct tensor first = resnet_forward(s, x, &time, &w->mid_first);
    if (w->config.mid_attends == ATTENDS_TEXT)
        transformer_apply(s, first, text, &w->mid);
    if (w->config.mid_attends == ATTENDS_SELF)
        self_attention_add(s, first, &w->mid_self);
    struct tensor last = resnet_forward(s, first, &time, &w->mid_last);
    tensor_give(s, &first);
    return last;
}

void unet_forward(struct stream *s, struct tensor y, struct tensor x, cl_mem step,
                  struct tensor context, const struct unet_extra *extra,
                  const struct unet *w)
{
    const struct unet_config *c = &w->config;
    const struct text_context text = {context, extra->key_counts};
    struct tensor time = time_forward(s, x.n, step, extra, w);
    struct skips skips = {.count = 1};
    skips.tensor[0] = tensor_take(s, x.n, x.h, x.w, c->level[0].channels);
    conv2d(s, skips.tensor[0], x, &w->conv_in, &(struct conv_options){0});

    for (size_t i = 0; i < c->levels; i++)
        down_forward(s, &skips, time, &text, &w->down[i], c->pad_end);
    struct tensor h = mid_forward(s, skips.tensor[skips.count - 1], time, &text, w);
    for (size_t i = 0; i < c->levels; i++)
        h = up_forward(s, h, &skips, time, &text, &w->up[i]);

    group_norm(s, h, h, &w->norm_out, c->groups, ACTIVATION_SILU);
    conv2d(s, y, h, &w->conv_out, &(struct conv_options){0});
    tensor_give(s, &h);
    tensor_give(s, &time);
}
