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

/* time += linear(act(linear(added))); diffusers' embedding of added numbers keeps SiLU. */
static void added_forward(struct stream *s, struct tensor time, struct tensor added,
                          const struct unet *w)
{
    struct tensor hidden = tensor_take(s, time.n, 1, 1, w->added1.out);
    linear(s, hidden, added, &w->added1,
           w->config.class_steps ? w->config.at_time : ACTIVATION_SILU, NULL);
    linear(s, time, hidden, &w->added2, ACTIVATION_NONE, &time);
    tensor_give(s, &hidden);
}

/* Sinusoid -> linear -> act -> linear, and the activation with which every resnet begins
 * its projection of it. */
static struct tensor time_forward(struct stream *s, size_t n, cl_mem step,
                                  const struct unet_extra *extra, const struct unet *w)
{
    const struct unet_config *c = &w->config;
    struct tensor sinusoid = tensor_take(s, n, 1, 1, w->time1.in);
    struct tensor hidden = tensor_take(s, n, 1, 1, w->time1.out);
    struct tensor time = tensor_take(s, n, 1, 1, w->time2.out);
    bool more = c->added || c->classes;
    bool plain = !more && !c->behind_time && !c->behind_added;
    assert(!more || extra->added);
    assert(!c->guidance || extra->guidance);
    time_embedding(s, sinusoid, step, c->flip_sin_to_cos, c->freq_shift);
    if (c->guidance)
        linear(s, sinusoid, *extra->guidance, &w->guidance, ACTIVATION_NONE, &sinusoid);
    linear(s, hidden, sinusoid, &w->time1, c->at_time, NULL);
    linear(s, time, hidden, &w->time2, plain ? c->activation : c->behind_time, NULL);
    tensor_give(s, &hidden);
    tensor_give(s, &sinusoid);
    if (plain)
        return time;
    if (c->added)
        added_forward(s, time, *extra->added, w);
    if (c->classes)
        add(s, time, time, *extra->added);
    if (c->behind_added)
        activate(s, time, time, c->behind_added);
    activate(s, time, time, c->activation);
    return time;
}

size_t unet_added_width(const struct unet *self)
{
    return self->config.classes ? self->time2.out : self->config.added;
}

/* The sinusoid of a number, `width` floats, as time_embedding makes it. */
static void sinusoid(const struct unet_config *c, float number, size_t width,
                     float *into)
{
    size_t half = width / 2;
    for (size_t j = 0; j < half; j++) {
        float part = (float)j / ((float)half - c->freq_shift);
        float angle = number * expf(-logf(10000) * part);
        into[j] = c->flip_sin_to_cos ? cosf(angle) : sinf(angle);
        into[half + j] = c->flip_sin_to_cos ? sinf(angle) : cosf(angle);
    }
}

void unet_guidance_values(const struct unet *self, double guidance, float *into)
{
    size_t width = self->config.guidance, half = width / 2;
    float number = (float)(guidance - 1) * 1000, step = logf(10000) / (float)(half - 1);
    into[width - 1] = 0; /* of an odd one */
    for (size_t j = 0; j < half; j++) {
        float angle = number * expf((float)j * -step);
        into[j] = sinf(angle);
        into[half + j] = cosf(angle);
    }
}

void unet_class_values(const struct unet *self, size_t class, float *into)
{
    size_t width = self->time2.out;
    if (self->config.class_steps) {
        sinusoid(&self->config, (float)class, self->config.added, into);
        return;
    }
    assert(class < self->config.classes);
    memcpy(into, self->classes + class * width, width * sizeof *into);
}

void unet_added_values(const struct unet *self, const float *pooled, const float *ids,
                       size_t count, float *into)
{
    const struct unet_config *c = &self->config;
    size_t width = c->added - count * c->time_ids;
    assert(c->added > count * c->time_ids);
    if (pooled)
        memcpy(into, pooled, width * sizeof *into);
    else
        memset(into, 0, width * sizeof *into);
    for (size_t i = 0; i < count; i++)
        sinusoid(c, ids[i], c->time_ids, into + width + i * c->time_ids);
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

/* x is a skip and stays. */
static struct tensor mid_forward(struct stream *s, struct tensor x, struct tensor time,
                                 const struct text_context *text, const struct unet *w)
{
    const struct unet_mid_config *mid = &w->config.mid;
    if (!mid->resnets) {
        struct tensor same = tensor_take(s, x.n, x.h, x.w, x.c);
        scale(s, same, x, 1);
        return same;
    }
    struct tensor h = resnet_forward(s, x, &time, &w->mid_first);
    if (mid->attends == ATTENDS_TEXT)
        transformer_apply(s, h, text, &w->mid);
    if (mid->attends == ATTENDS_SELF)
        self_attention_add(s, h, &w->mid_self);
    if (mid->resnets == 1)
        return h;
    struct tensor last = resnet_forward(s, h, &time, &w->mid_last);
    tensor_give(s, &h);
    return last;
}

static struct tensor in_forward(struct stream *s, struct tensor x, const struct unet *w)
{
    struct tensor y = tensor_take(s, x.n, x.h, x.w, w->conv_in.out);
    struct tensor centered = x;
    if (w->config.centers) {
        centered = tensor_take(s, x.n, x.h, x.w, x.c);
        affine(s, centered, x, 2, -1);
    }
    conv2d(s, y, centered, &w->conv_in, &(struct conv_options){0});
    if (w->config.centers)
        tensor_give(s, &centered);
    return y;
}

void unet_forward(struct stream *s, struct tensor y, struct tensor x, cl_mem step,
                  struct tensor context, const struct unet_extra *extra,
                  const struct unet *w)
{
    const struct unet_config *c = &w->config;
    const struct text_context text = {context, extra->key_counts};
    struct tensor time = time_forward(s, x.n, step, extra, w);
    struct skips skips = {.count = 1};
    skips.tensor[0] = in_forward(s, x, w);

    for (size_t i = 0; i < c->levels; i++)
        down_forward(s, &skips, time, &text, &w->down[i], c->pad_end);
    struct tensor h = mid_forward(s, skips.tensor[skips.count - 1], time, &text, w);
    for (size_t i = 0; i < c->levels; i++)
        h = up_forward(s, h, &skips, time, &text, &w->up[i]);

    group_norm(s, h, h, &w->norm_out, c->groups, c->at_end);
    conv2d(s, y, h, &w->conv_out, &(struct conv_options){0});
    tensor_give(s, &h);
    tensor_give(s, &time);
}
