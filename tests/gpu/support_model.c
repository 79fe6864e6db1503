#include "tests/gpu/support_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"

char *model_path(const char *model, const char *file)
{
    return strcmp(model, "emoji") == 0
               ? path_format("%s/models/emoji/%s", FARM_SOURCE_DIR, file)
               : path_format("%s/%s/%s", FARM_GOLDEN_DIR, model, file);
}

struct pipeline *load_pipeline(const char *model)
{
    struct model_files files;
    char *folder = model_path(model, "");
    assert_ok(model_files_from_folder(&files, folder, &error));
    struct error error = {0};
    struct pipeline *pipeline = pipeline_load(gpu, &files, DTYPE_F32, &error);
    if (!pipeline)
        fail_msg("%s", error.text);
    model_files_clear(&files);
    free(folder);
    return pipeline;
}

json_t *golden_manifest(void)
{
    json_error_t where;
    json_t *cases = json_load_file(FARM_GOLDEN_DIR "/manifest.json", 0, &where);
    if (!json_is_array(cases))
        fail_msg("manifest.json: %s", where.text);
    return cases;
}

const char *golden_text(const json_t *golden, const char *key)
{
    const char *text = json_string_value(json_object_get(golden, key));
    assert_non_null(text);
    return text;
}

struct golden_tensor golden_load(const char *file, const char *tensor)
{
    char *path = path_format("%s/%s", FARM_GOLDEN_DIR, file);
    struct host_tensor host;
    struct error error = {0};
    struct safetensors *from = safetensors_open(path, &error);
    if (!from || !safetensors_get(from, tensor, &host, &error))
        fail_msg("%s", error.text);
    struct golden_tensor golden = {.dims = host.dims,
                                   .count = host_tensor_count(&host)};
    memcpy(golden.shape, host.shape, sizeof golden.shape);
    golden.values = malloc(golden.count * sizeof *golden.values);
    assert_non_null(golden.values);
    host_tensor_floats(&host, 0, golden.count, golden.values);
    safetensors_close(&from);
    free(path);
    return golden;
}

struct golden_tensor golden_role(const json_t *golden, const char *under,
                                 const char *name)
{
    return golden_load(golden_text(golden, "file"),
                       golden_text(json_object_get(golden, under), name));
}

struct tensor tensor_from_nchw(enum dtype dtype, const struct golden_tensor *golden)
{
    size_t n = golden->shape[0], c = golden->shape[1], h = golden->shape[2],
           w = golden->shape[3];
    assert_int_equal(golden->dims, 4);
    float *values = malloc(golden->count * sizeof *values);
    assert_non_null(values);
    nchw_to_nhwc(values, golden->values, n, c, h, w);
    struct tensor tensor = tensor_from(dtype, n, h, w, c, values);
    free(values);
    return tensor;
}

float *tensor_values_nchw(const struct tensor *tensor)
{
    float *nhwc = tensor_values(tensor);
    float *nchw = malloc(tensor_count(tensor) * sizeof *nchw);
    assert_non_null(nchw);
    nhwc_to_nchw(nchw, nhwc, tensor->n, tensor->c, tensor->h, tensor->w);
    free(nhwc);
    return nchw;
}

double relative_distance(const float *found, const float *want, size_t count)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < count; i++) {
        double d = (double)found[i] - (double)want[i];
        difference += d * d;
        norm += (double)want[i] * (double)want[i];
    }
    return sqrt(difference / norm);
}

void assert_golden(const char *what, const float *found,
                   const struct golden_tensor *want, double most)
{
    double distance = relative_distance(found, want->values, want->count);
    print_message("    %s: relative L2 %.2g\n", what, distance);
    assert_true(distance < most); /* false for NaN too */
}
