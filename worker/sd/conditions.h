/* What every row of a batch attends to, at each call of the UNet.
 *
 *     rows 0 .. images - 1   without the prompt (the negative one); only when guided
 *     the rest               image by image, the parts of its prompt that AND joins
 *
 * Editing and alternation give a row several states; all of a row have one length. A batch
 * is as wide as its longest row, and each row says how many keys count.
 */
#ifndef FARM_CONDITIONS_H
#define FARM_CONDITIONS_H

#include "worker/sd/conditioning.h"

struct conditions_image {
    const char *prompt;
    const char *negative; /* NULL: zeros */
};

struct conditions_options {
    struct conditioning_form form;
    size_t calls;  /* of the UNet over all steps: what editing's steps are counted in */
    size_t before; /* calls of the first pass, where this is the second; else 0 */
    bool guided;
};

struct conditions_row {
    size_t image;
    double weight; /* of a part among its image's; 1 of others */
    size_t keys;
    size_t states; /* 0: zeros all the time */
    size_t *end;   /* as prompt_schedule has them */
    const struct condition **state;
};

struct conditions {
    struct conditioning *owner;
    size_t c;
    bool guided;   /* as asked for, or because a prompt has parts */
    bool composes; /* some image has several parts, or one of a weight other than 1 */
    size_t count;
    struct conditions_row *row;
    size_t keys;     /* the most of any row */
    bool *truncated; /* of each image: text was dropped */
};

/* Encodes what `count` images need; c is the context's width, `tokens` a chunk's. The error
 * says which text is wrong. */
bool conditions_make(struct conditions *self, struct conditioning *owner, size_t c,
                     size_t tokens, const struct conditions_image *images, size_t count,
                     const struct conditions_options *options, struct error *error);
void conditions_clear(struct conditions *self);

/* A row each for `count` images of a model that takes no text. */
bool conditions_none(struct conditions *self, size_t count, struct error *error);

/* Whether call `call`, from 0, differs from the one before; the first does. */
bool conditions_change(const struct conditions *self, size_t call);

/* [count, keys, c], zeros behind each row's keys. */
void conditions_write(const struct conditions *self, size_t call, float *context);

/* The row's pooled vector at that call; NULL: zeros. */
const float *conditions_pooled(const struct conditions *self, size_t row, size_t call);

#endif
