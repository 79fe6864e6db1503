#include "worker/sd/preview.h"

#include <math.h>
#include <stdlib.h>

#include "worker/sd/noise.h"

enum { SIDE = 16, PLACES = SIDE * SIDE, UNKNOWN_MOST = PREVIEW_CHANNELS_MOST + 1 };

/* The normal equations of the fit: columns of the right side are red, green and blue. */
struct normal {
    double left[UNKNOWN_MOST][UNKNOWN_MOST], right[UNKNOWN_MOST][3];
};

static void add_place(struct normal *self, const float *channels, size_t c,
                      const double colour[3])
{
    for (size_t i = 0; i <= c; i++) {
        double own = i < c ? (double)channels[i] : 1;
        for (size_t j = 0; j <= c; j++)
            self->left[i][j] += own * (j < c ? (double)channels[j] : 1);
        for (size_t k = 0; k < 3; k++)
            self->right[i][k] += own * colour[k];
    }
}

/* Gauss and Jordan; the matrix is positive definite but for bad luck. */
static bool solve(struct normal *self, size_t count)
{
    for (size_t p = 0; p < count; p++) {
        double pivot = self->left[p][p];
        if (!(fabs(pivot) > 1e-9))
            return false;
        for (size_t j = 0; j < count; j++)
            self->left[p][j] /= pivot;
        for (size_t k = 0; k < 3; k++)
            self->right[p][k] /= pivot;
        for (size_t i = 0; i < count; i++) {
            double share = self->left[i][p];
            for (size_t j = 0; i != p && j < count; j++)
                self->left[i][j] -= share * self->left[p][j];
            for (size_t k = 0; i != p && k < 3; k++)
                self->right[i][k] -= share * self->right[p][k];
        }
    }
    return true;
}

/* The mean colour of a place's f x f pixels. */
static void mean_colour(const float *pixels, size_t place, size_t f, double colour[3])
{
    size_t y = place / SIDE * f, x = place % SIDE * f;
    for (size_t k = 0; k < 3; k++)
        colour[k] = 0;
    for (size_t row = y; row < y + f; row++)
        for (size_t column = x; column < x + f; column++)
            for (size_t k = 0; k < 3; k++)
                colour[k] += (double)pixels[(row * SIDE * f + column) * 3 + k];
    for (size_t k = 0; k < 3; k++)
        colour[k] /= (double)(f * f);
}

static bool fit(struct preview_map *self, const float *latents, const float *pixels,
                size_t c, size_t f, struct error *error)
{
    struct normal *normal = calloc(1, sizeof *normal);
    if (!normal)
        return error_set_kind(error, ERROR_MEMORY, "no memory for previews");
    for (size_t place = 0; place < PLACES; place++) {
        double colour[3];
        mean_colour(pixels, place, f, colour);
        add_place(normal, latents + place * c, c, colour);
    }
    bool ok = solve(normal, c + 1) ||
              error_set_kind(error, ERROR_DEVICE, "previews: the VAE gives no picture");
    for (size_t i = 0; ok && i <= c; i++)
        for (size_t k = 0; k < 3; k++)
            self->weight[i][k] = (float)normal->right[i][k];
    self->c = ok ? c : 0;
    free(normal);
    return ok;
}

bool preview_fit(struct preview_map *self, struct plans *plans, struct error *error)
{
    size_t c = plans->vae->config.latent_channels, f = vae_factor(plans->vae);
    if (c > PREVIEW_CHANNELS_MOST)
        return error_set_kind(error, ERROR_INPUT,
                              "previews: latents of %zu channels, at most %d", c,
                              PREVIEW_CHANNELS_MOST);
    float *latents = calloc(PLACES * c, sizeof *latents);
    float *pixels = calloc(PLACES * f * f * 3, sizeof *pixels);
    struct noise noise;
    bool ok = latents && pixels;
    if (!ok)
        error_set_kind(error, ERROR_MEMORY, "no memory for previews");
    noise_seed(&noise, 0);
    if (ok)
        noise_normal(&noise, latents, PLACES * c);
    struct vae_pass *pass =
        ok ? plans_vae(plans, VAE_DECODES, SIDE, SIDE, error) : NULL;
    ok = pass && vae_pass_run(pass, latents, pixels, error) &&
         fit(self, latents, pixels, c, f, error);
    if (pass) /* once is enough */
        plans_drop_used(plans, PLAN_DECODER);
    free(latents);
    free(pixels);
    return ok;
}

void preview_draw(const struct preview_map *self, const float *latents, size_t places,
                  uint8_t *rgb)
{
    for (size_t place = 0; place < places; place++)
        for (size_t k = 0; k < 3; k++) {
            float value = self->weight[self->c][k];
            for (size_t i = 0; i < self->c; i++)
                value += self->weight[i][k] * latents[place * self->c + i];
            value = fminf(fmaxf(value * 0.5F + 0.5F, 0), 1);
            rgb[place * 3 + k] = value == value ? (uint8_t)rintf(value * 255) : 0;
        }
}
