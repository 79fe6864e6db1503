/* Time of one pass of a full-size model part with invented weights.
 *
 *     bench_model unet|vae|text CONFIG [--size N] [--rows N] [--f16] [--device N]
 *                 [--passes N] [--steps-from-stdin] [--scales FILE] [--out FILE]
 *                 [--profile] [--trace FILE] [--plan]
 *
 * Size is in latents, both ways; texts have theirs from CONFIG. Each pass prints its seconds on a line of its own; the
 * first, which is not printed, builds kernels. With --steps-from-stdin a pass runs for each
 * line read, so that bench.py can alternate it with a peer. --out: the result as raw
 * float32 [n, h, w, c]. --scales: of invented.c. --profile: what each kernel took, on
 * stderr; --trace: all launches. --plan: ends once the pass is planned, on a device that
 * only plans; FARM_KERNEL_LIST then gets what it would build.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "opencl/prove.h"
#include "worker/sd/text_encoder.h"
#include "worker/sd/unet.h"
#include "worker/sd/vae.h"

struct bench {
    const char *part, *config, *out, *scales, *trace;
    size_t size, rows, device, passes;
    bool from_stdin, profile, plan;
    enum dtype dtype;
    struct gpu *gpu;
    struct unet unet;
    struct vae vae;
    struct text_encoder text;
    struct tensor x, y, context, added, step_buffer;
    struct unet_extra extra;
    struct step step;
    struct stream *stream;
};

static void die(const struct error *error)
{
    fprintf(stderr, "bench_model: %s\n", error->text);
    exit(1);
}

/* -1 to 1, by an index that peer_torch.py counts the same way. */
static struct tensor input(struct bench *self, size_t n, size_t h, size_t w, size_t c)
{
    struct error error = {0};
    struct tensor tensor;
    size_t count = n * h * w * c;
    float *values = malloc(count * sizeof *values);
    if (!values || !tensor_new(&tensor, self->gpu, self->dtype, n, h, w, c, &error))
        die(&error);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(i * 2654435761U % 4096) / 2048.0F - 1;
    if (!tensor_upload(&tensor, self->gpu, values, &error))
        die(&error);
    free(values);
    return tensor;
}

/* Ids 0, 1 and so on: int32 in a tensor of floats. */
static struct tensor first_ids(struct bench *self, size_t count)
{
    struct error error = {0};
    struct tensor tensor;
    int32_t *ids = malloc(count * sizeof *ids);
    if (!ids || !tensor_new(&tensor, self->gpu, DTYPE_F32, 1, 1, 1, count, &error))
        die(&error);
    for (size_t i = 0; i < count; i++)
        ids[i] = (int32_t)(i % self->text.vocabulary);
    if (!tensor_upload(&tensor, self->gpu, (const float *)ids, &error))
        die(&error);
    free(ids);
    return tensor;
}

static bool is_part(const struct bench *self, const char *name)
{
    return strcmp(self->part, name) == 0;
}

static bool read_config(struct bench *self, struct error *error)
{
    const char *path = self->config;
    if (is_part(self, "text"))
        return text_encoder_config(&self->text, path, path, error);
    return is_part(self, "unet")
               ? unet_config_load(&self->unet.config, path, path, error)
               : vae_config_load(&self->vae.config, path, path, error);
}

static bool read_weights(struct bench *self, struct checkpoint *from,
                         struct error *error)
{
    if (is_part(self, "text"))
        return text_encoder_load(&self->text, self->gpu, self->dtype, from, error);
    return is_part(self, "unet")
               ? unet_load(&self->unet, self->gpu, self->dtype, from, error)
               : vae_load(&self->vae, self->gpu, self->dtype, from, error);
}

static void make_inputs(struct bench *self)
{
    size_t n = self->rows, side = self->size;
    if (is_part(self, "text")) {
        self->x = first_ids(self, n * self->text.tokens);
        self->y = input(self, n, 1, self->text.tokens, self->text.c);
    } else if (is_part(self, "unet")) {
        const struct unet_config *c = &self->unet.config;
        self->x = input(self, n, side, side, c->in_channels);
        self->y = input(self, n, side, side, c->out_channels);
        self->context = input(self, n, 1, 77, c->context);
        if (c->added) {
            self->added = input(self, n, 1, 1, c->added);
            self->extra.added = &self->added;
        }
        self->step.timestep = 500;
    } else {
        size_t f = vae_factor(&self->vae);
        self->x = input(self, n, side, side, self->vae.config.latent_channels);
        self->y = input(self, n, side * f, side * f, 3);
    }
}

static void load(struct bench *self)
{
    struct error error = {0};
    const char *scales = self->plan ? NULL : self->scales;
    struct checkpoint *from = checkpoint_open(scales, self->part, &error);
    if (!from || !read_config(self, &error) || !read_weights(self, from, &error))
        die(&error);
    checkpoint_close(&from);
    make_inputs(self);
    if (!tensor_new(&self->step_buffer, self->gpu, DTYPE_F32, 1, 1, 1,
                    sizeof(struct step) / sizeof(float), &error))
        die(&error);
}

static void forward(struct bench *self)
{
    const struct text_form form = {.final_norm = true};
    if (is_part(self, "text")) {
        text_encode(self->stream, self->y, NULL, self->x.memory, &form, &self->text);
        return;
    }
    if (is_part(self, "vae")) {
        vae_decode(self->stream, self->y, self->x, &self->vae);
        return;
    }
    step_write(self->stream, self->step_buffer.memory, &self->step);
    unet_forward(self->stream, self->y, self->x, self->step_buffer.memory,
                 self->context, &self->extra, &self->unet);
}

static double pass(struct bench *self)
{
    struct error error = {0};
    int64_t from = clock_us();
    stream_run(self->stream);
    forward(self);
    if (!stream_end(self->stream, &error) || !gpu_finish(self->gpu, &error))
        die(&error);
    return (double)(clock_us() - from) * 1e-6;
}

static void write_out(struct bench *self)
{
    struct error error = {0};
    size_t count = tensor_count(&self->y);
    float *values = malloc(count * sizeof *values);
    FILE *file = fopen(self->out, "wb");
    if (!values || !file || !tensor_download(&self->y, self->gpu, values, &error) ||
        fwrite(values, sizeof *values, count, file) != count)
        die(&error);
    fclose(file);
    free(values);
}

static void run(struct bench *self)
{
    struct error error = {0};
    char line[16];
    self->stream = stream_new(self->gpu, self->dtype, &error);
    if (!self->stream)
        die(&error);
    stream_plan(self->stream);
    forward(self);
    if (!stream_ready(self->stream, &error))
        die(&error);
    if (self->plan)
        return;
    uint64_t before = gpu_launches(self->gpu);
    pass(self);
    fprintf(stderr,
            "%s: %llu launches, arena %zu MiB for %zu MiB alive, %zu MiB in all\n",
            self->part, (unsigned long long)(gpu_launches(self->gpu) - before),
            stream_arena_bytes(self->stream) >> 20,
            stream_live_bytes(self->stream) >> 20, gpu_allocated(self->gpu) >> 20);
    if (self->out)
        write_out(self);
    for (size_t i = 0; self->from_stdin || i < self->passes; i++) {
        if (self->from_stdin && !fgets(line, sizeof line, stdin))
            break;
        printf("%.6f\n", pass(self));
        fflush(stdout);
    }
}

static void print_profile(struct bench *self)
{
    struct error error = {0};
    struct profile *profile = gpu_profile(self->gpu);
    if (self->trace && !profile_write_trace(profile, self->trace, &error))
        die(&error);
    if (self->profile && !profile_print(profile, stderr, &error))
        die(&error);
}

static void close_all(struct bench *self)
{
    stream_destroy(&self->stream);
    struct tensor *tensors[] = {&self->x, &self->y, &self->context, &self->added,
                                &self->step_buffer};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        if (tensors[i]->memory)
            tensor_destroy(tensors[i], self->gpu);
    unet_clear(&self->unet, self->gpu);
    vae_clear(&self->vae, self->gpu);
    text_encoder_clear(&self->text, self->gpu);
    gpu_close(&self->gpu);
}

static void usage(void)
{
    fprintf(stderr, "bench_model unet|vae|text CONFIG [--size N] [--rows N] [--f16] "
                    "[--device N] [--passes N] [--steps-from-stdin] "
                    "[--scales FILE] [--out FILE] [--profile] [--trace FILE] "
                    "[--plan]\n");
    exit(2);
}

int main(int count, char **arguments)
{
    struct bench self = {.size = 64, .rows = 1, .passes = 3, .scales = ""};
    if (count < 3)
        usage();
    self.part = arguments[1];
    self.config = arguments[2];
    if (!is_part(&self, "unet") && !is_part(&self, "vae") && !is_part(&self, "text"))
        usage();
    struct {
        const char *name;
        size_t *value;
    } numbers[] = {{"--size", &self.size},
                   {"--rows", &self.rows},
                   {"--device", &self.device},
                   {"--passes", &self.passes}};
    for (int i = 3; i < count; i++) {
        bool known = true;
        if (strcmp(arguments[i], "--f16") == 0)
            self.dtype = DTYPE_F16;
        else if (strcmp(arguments[i], "--steps-from-stdin") == 0)
            self.from_stdin = true;
        else if (strcmp(arguments[i], "--profile") == 0)
            self.profile = true;
        else if (strcmp(arguments[i], "--plan") == 0)
            self.plan = true;
        else if (strcmp(arguments[i], "--trace") == 0 && i + 1 < count)
            self.trace = arguments[++i];
        else if (strcmp(arguments[i], "--out") == 0 && i + 1 < count)
            self.out = arguments[++i];
        else if (strcmp(arguments[i], "--scales") == 0 && i + 1 < count)
            self.scales = arguments[++i];
        else
            known = false;
        for (size_t j = 0; !known && j < sizeof numbers / sizeof *numbers; j++)
            if (strcmp(arguments[i], numbers[j].name) == 0 && i + 1 < count) {
                *numbers[j].value = strtoul(arguments[++i], NULL, 10);
                known = true;
            }
        if (!known)
            usage();
    }
    struct error error = {0};
    self.gpu =
        self.plan ? gpu_open_plan(self.device, &error) : gpu_open(self.device, &error);
    if (!self.gpu || /* a proof puts its matrix unit to use */
        (!self.plan && gpu_matrix_candidate(self.gpu) &&
         !gpu_prove(self.gpu, &error)) ||
        ((self.profile || self.trace) && !gpu_start_profile(self.gpu, &error)))
        die(&error);
    load(&self);
    run(&self);
    print_profile(&self);
    close_all(&self);
    return 0;
}
