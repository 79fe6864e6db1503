#include "worker/memory.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/path.h"

static double mib(size_t bytes)
{
    return (double)bytes / (1 << 20);
}

static bool read_words(struct footprint_request *self, char *const *words, size_t count,
                       struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        size_t width, height, images;
        char more;
        if (sscanf(words[i], "%5zux%5zu%c", &width, &height, &more) == 2) {
            self->width = width;
            self->height = height;
        } else if (strcmp(words[i], "f16") == 0 || strcmp(words[i], "f32") == 0) {
            self->dtype = words[i][1] == '1' ? DTYPE_F16 : DTYPE_F32;
        } else if (sscanf(words[i], "%2zu%c", &images, &more) == 1 && images) {
            self->images = images;
        } else {
            return error_set_kind(error, ERROR_INPUT,
                                  "plan: \"%s\"; expected PATH, then any of "
                                  "WIDTHxHEIGHT, f32 or f16, images at once (1 to 99)",
                                  words[i]);
        }
    }
    return true;
}

static bool find_files(struct model_files *files, const char *path, struct error *error)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return path_failed(path, error);
    if (S_ISDIR(status.st_mode))
        return model_files_from_folder(files, path, error);
    const char *slash = strrchr(path, '/');
    files->file = calloc(1, sizeof *files->file);
    if (!files->file)
        return error_set_kind(error, ERROR_MEMORY, "no memory for a list of files");
    files->count = 1;
    files->file[0].name = path_format("%s", slash ? slash + 1 : path);
    files->file[0].path = path_format("%s", path);
    return true;
}

static void print_table(const struct footprint *plan, const struct gpu_info *device,
                        const struct footprint_request *wanted)
{
    printf("%s, %.0f MiB: %zux%zu, %s, %zu at once%s\n", device->name,
           mib(device->memory), plan->width, plan->height,
           wanted->dtype == DTYPE_F16 ? "f16" : "f32", wanted->images,
           plan->tiled ? ", VAE in tiles" : "");
    printf("  %-6s %12s %12s %12s %12s\n", "MiB", "weights", "arena", "alive",
           "beside");
    for (size_t i = 0; i < FOOTPRINT_PHASES; i++) {
        const struct footprint_part *part = &plan->part[i];
        if (!part->weights)
            continue;
        printf("  %-6s %12.1f %12.1f %12.1f %12.1f\n", footprint_phase_name[i],
               mib(part->weights), mib(part->arena), mib(part->live), mib(part->own));
    }
    printf("  in all %.1f, with one part's plan at a time %.1f: %s\n", mib(plan->whole),
           mib(plan->least),
           plan->whole <= device->memory   ? "fits"
           : plan->least <= device->memory ? "fits, planning anew for each part"
                                           : "does not fit");
}

static json_t *json_of(const struct footprint *plan, const struct gpu_info *device)
{
    json_t *parts = json_object();
    for (size_t i = 0; i < FOOTPRINT_PHASES; i++) {
        const struct footprint_part *part = &plan->part[i];
        json_object_set_new(
            parts, footprint_phase_name[i],
            json_pack("{sI sI sI sI}", "weights", (json_int_t)part->weights, "arena",
                      (json_int_t)part->arena, "alive", (json_int_t)part->live,
                      "beside", (json_int_t)part->own));
    }
    return json_pack("{ss sI sI sI sI sI sI sb so}", "device", device->name, "memory",
                     (json_int_t)device->memory, "width", (json_int_t)plan->width,
                     "height", (json_int_t)plan->height, "weights",
                     (json_int_t)plan->weights, "whole", (json_int_t)plan->whole,
                     "least", (json_int_t)plan->least, "tiled", plan->tiled, "parts",
                     parts);
}

static bool show_all(const struct footprint_request *wanted, bool json,
                     struct error *error)
{
    struct gpu_info *infos = NULL;
    size_t count = 0;
    bool ok = gpu_list(&infos, &count, error);
    json_t *list = json_array();
    if (ok && !count)
        ok = error_set_kind(error, ERROR_NOT_FOUND,
                            "no OpenCL device here to plan for: install your GPU's "
                            "OpenCL driver, or pocl-opencl-icd to use the processor");
    for (size_t i = 0; ok && i < count; i++) {
        struct footprint plan;
        ok = footprint_plan(&plan, i, wanted, error);
        if (ok && json)
            json_array_append_new(list, json_of(&plan, &infos[i]));
        else if (ok)
            print_table(&plan, &infos[i], wanted);
    }
    if (ok && json) {
        json_dumpf(list, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
        putchar('\n');
    }
    json_decref(list);
    free(infos);
    return ok;
}

int memory_show(char *const *words, size_t count, const char *safety, bool json)
{
    struct error error = {0};
    struct model_files files = {0};
    struct footprint_request wanted = {
        .files = &files, .images = 1, .safety_path = safety, .safety_name = safety};
    bool ok = read_words(&wanted, words + 1, count - 1, &error) &&
              find_files(&files, words[0], &error) && show_all(&wanted, json, &error);
    model_files_clear(&files);
    if (!ok)
        fprintf(stderr, "farm-worker: %s\n", error.text);
    return ok ? 0 : error.kind == ERROR_INPUT || error.kind == ERROR_NOT_FOUND ? 2 : 1;
}

static void log_line(const struct footprint *plan, const struct gpu_info *device,
                     const char *model)
{
    const struct footprint_part *part = plan->part;
    log_info(
        "%s at %zux%zu: %.1f MiB of weights%s, arenas of %.1f (text), %.1f (UNet) "
        "and %.1f (VAE%s) for %.1f, %.1f and %.1f alive; %.1f of the device's %.0f "
        "in all",
        model, plan->width, plan->height, mib(plan->weights),
        part[FOOTPRINT_SAFETY].weights ? ", the safety checker's too" : "",
        mib(part[FOOTPRINT_TEXT].arena), mib(part[FOOTPRINT_UNET].arena),
        mib(part[FOOTPRINT_VAE].arena), plan->tiled ? " in tiles" : "",
        mib(part[FOOTPRINT_TEXT].live), mib(part[FOOTPRINT_UNET].live),
        mib(part[FOOTPRINT_VAE].live), mib(plan->whole), mib(device->memory));
}

size_t memory_plan(size_t index, const struct gpu_info *device, const char *model,
                   const struct footprint_request *request)
{
    struct footprint plan;
    if (!footprint_plan(&plan, index, request, NULL))
        return 0;
    log_line(&plan, device, model);
    return plan.whole;
}
