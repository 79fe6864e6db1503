/* Time and memory to load a model.
 *
 *     bench_load PATH [--f16] [--device N]
 *
 * PATH is a diffusers folder or a safetensors file. Printed are seconds, MiB on the device, the
 * most MiB of memory the process had, and what is left of those without the files, which are
 * mapped, and without the device's, which on a CPU lies there too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "worker/sd/pipeline.h"

static bool open_files(struct model_files *files, const char *path, struct error *error)
{
    struct stat about;
    bool is_folder = stat(path, &about) == 0 && S_ISDIR(about.st_mode);
    if (is_folder)
        return model_files_from_folder(files, path, error);
    files->file = calloc(1, sizeof *files->file);
    if (!files->file)
        return error_set_kind(error, ERROR_MEMORY, "no memory");
    files->count = 1;
    files->file->name = strdup("model.safetensors");
    files->file->path = strdup(path);
    return true;
}

static size_t mapped_bytes(const struct model_files *files)
{
    struct stat about;
    size_t bytes = 0;
    for (size_t i = 0; i < files->count; i++)
        if (stat(files->file[i].path, &about) == 0)
            bytes += (size_t)about.st_size;
    return bytes;
}

int main(int count, char **arguments)
{
    struct error error = {0};
    struct model_files files = {0};
    struct rusage usage;
    enum dtype dtype = DTYPE_F32;
    size_t device = 0;
    for (int i = 2; i < count; i++) {
        if (strcmp(arguments[i], "--f16") == 0)
            dtype = DTYPE_F16;
        else if (strcmp(arguments[i], "--device") == 0 && i + 1 < count)
            device = strtoul(arguments[++i], NULL, 10);
    }
    struct gpu *gpu = count > 1 ? gpu_open(device, &error) : NULL;
    int64_t start = clock_ms();
    struct pipeline *pipeline = NULL;
    if (gpu && open_files(&files, arguments[1], &error))
        pipeline = pipeline_load(gpu, &files, dtype, &error);
    if (!pipeline) {
        fprintf(stderr, "bench_load: %s\n", count > 1 ? error.text : "PATH [--f16]");
        return 1;
    }
    getrusage(RUSAGE_SELF, &usage);
    size_t own = gpu_allocated(gpu), most = (size_t)usage.ru_maxrss << 10;
    size_t known = own + mapped_bytes(&files);
    printf("%.1f s, %zu MiB on the device, at most %zu MiB in memory, %zu beside files "
           "and device\n",
           (double)(clock_ms() - start) / 1000, own >> 20, most >> 20,
           (most > known ? most - known : 0) >> 20);
    pipeline_destroy(&pipeline);
    gpu_close(&gpu);
    model_files_clear(&files);
    return 0;
}
