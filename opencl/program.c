#include "opencl/program.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/embedded.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/path.h"
#include "opencl/tuning.h"

extern const struct embedded_file kernel_sources[];

struct program {
    char *key; /* file and options */
    cl_program program;
};

struct kernel {
    uint64_t hash; /* of file, name and options */
    cl_kernel kernel;
};

/* Both grow; there are some dozens of programs and a hundred kernels at most. */
struct programs {
    struct program *program;
    size_t program_count;
    struct kernel *kernel;
    size_t kernel_count;
    size_t compiled;
    bool quiet;
    struct tuning *tuning; /* NULL: none */
};

/* Head of a file in the cache; the binary follows. */
struct cache_head {
    char magic[8];
    uint64_t size, hash;
};
static const char cache_magic[8] = "FARMKRN1";
enum { BINARY_MOST = 256 << 20, SOURCE_MOST = 1 << 20 };

struct programs *programs_new(void)
{
    struct programs *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    return self;
}

void programs_destroy(struct programs **self)
{
    if (!*self)
        return;
    for (size_t i = 0; i < (*self)->kernel_count; i++)
        clReleaseKernel((*self)->kernel[i].kernel);
    for (size_t i = 0; i < (*self)->program_count; i++) {
        clReleaseProgram((*self)->program[i].program);
        free((*self)->program[i].key);
    }
    tuning_destroy(&(*self)->tuning);
    free((*self)->kernel);
    free((*self)->program);
    free(*self);
    *self = NULL;
}

void programs_tell(struct programs *self, bool tell)
{
    self->quiet = !tell;
}

void programs_tune(struct programs *self, struct tuning *tuning)
{
    tuning_destroy(&self->tuning);
    self->tuning = tuning;
}

struct tuning *programs_tuning(const struct programs *self)
{
    return self ? self->tuning : NULL;
}

size_t programs_compiled(const struct programs *self)
{
    return self->compiled;
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
    return hash_bytes(hash, text, strlen(text) + 1);
}

/* ---- Sources */

static bool read_source(const char *file, struct buffer *into, struct error *error)
{
    const char *folder = getenv("FARM_KERNEL_DIR");
    if (folder && folder[0]) {
        char *path = path_format("%s/%s", folder, file);
        struct error missing = {0};
        bool found = path_read(path, SOURCE_MOST, into, &missing);
        free(path);
        if (found)
            return true;
        if (missing.kind != ERROR_NOT_FOUND) {
            if (error)
                *error = missing;
            return false;
        }
    }
    for (const struct embedded_file *e = kernel_sources; e->name; e++)
        if (strcmp(e->name, file) == 0)
            return buffer_append(into, e->text, e->size, error);
    return error_set(error, "%s: no such kernel file in this program", file);
}

/* Appends the file with every line `#include "other.cl"` replaced by that file: a device's
 * compiler knows no folder to look in. */
static bool read_whole(const char *file, struct buffer *into, struct error *error)
{
    struct buffer own = {0};
    bool ok = read_source(file, &own, error);
    const char *line = buffer_text(&own);
    while (ok && *line) {
        const char *end = strchr(line, '\n');
        size_t length = end ? (size_t)(end - line) + 1 : strlen(line);
        char name[64];
        if (sscanf(line, "#include \"%63[a-z0-9_.]\"", name) == 1)
            ok = read_whole(name, into, error);
        else
            ok = buffer_append(into, line, length, error);
        line += length;
    }
    buffer_clear(&own);
    return ok;
}

/* ---- The cache on disk */

/* PoCL keeps on its own what it compiled, for the work-groups that were launched. Asked for a
 * program's binary it compiles all kernels once more, for work-groups of any size: the first
 * picture of a machine came after 54 s instead of 29 (two cores), later starts gain 0.8 s. */
static bool wants_cache(struct gpu *gpu)
{
    return strcmp(gpu_info(gpu)->platform, "Portable Computing Language") != 0 ||
           getenv("FARM_KERNEL_CACHE");
}

static const char options_of_all[] = "-cl-std=CL1.2 -cl-mad-enable -w";

static void hash_device(const struct gpu *gpu, const char *source, const char *options,
                        uint64_t hash[2])
{
    const struct gpu_info *info = gpu_info(gpu);
    hash[0] = HASH_START;
    hash[1] = 0x9e3779b97f4a7c15;
    for (int i = 0; i < 2; i++) {
        hash[i] = hash_text(hash[i], info->name);
        hash[i] = hash_text(hash[i], info->vendor);
        hash[i] = hash_text(hash[i], info->driver);
        hash[i] = hash_text(hash[i], info->platform);
        hash[i] = hash_text(hash[i], options);
        hash[i] = hash_text(hash[i], source);
    }
}

static char *cache_path(struct gpu *gpu, const char *source, const char *options)
{
    uint64_t hash[2];
    hash_device(gpu, source, options, hash);
    char *folder = path_cache();
    char *path = path_format("%s/kernels/%016" PRIx64 "%016" PRIx64 ".bin", folder,
                             hash[0], hash[1]);
    free(folder);
    return path;
}

bool programs_identity(struct gpu *gpu, const char *const *files, size_t count,
                       uint8_t identity[16], struct error *error)
{
    const struct gpu_info *info = gpu_info(gpu);
    struct buffer source = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++)
        ok = read_whole(files[i], &source, error);
    char *how =
        path_format("%s %s %s %u %u %d", FARM_VERSION, options_of_all, info->kind,
                    info->units, info->native_width, gpu_is_cpu_path(gpu));
    uint64_t hash[2];
    if (ok)
        hash_device(gpu, buffer_text(&source), how, hash);
    if (ok)
        memcpy(identity, hash, sizeof hash);
    free(how);
    buffer_clear(&source);
    return ok;
}

static cl_program from_cache(struct gpu *gpu, const char *path, const char *options)
{
    struct buffer file = {0};
    cl_program program = NULL;
    if (!path_read(path, BINARY_MOST, &file, NULL))
        goto out;
    struct cache_head head;
    if (file.size < sizeof head)
        goto damaged;
    memcpy(&head, file.data, sizeof head);
    const unsigned char *binary = file.data + sizeof head;
    size_t size = file.size - sizeof head;
    if (memcmp(head.magic, cache_magic, sizeof cache_magic) != 0 || head.size != size ||
        head.hash != hash_bytes(0, binary, size))
        goto damaged;

    cl_device_id device = gpu_device(gpu);
    cl_int code, status;
    program = clCreateProgramWithBinary(gpu_context(gpu), 1, &device, &size, &binary,
                                        &status, &code);
    if (code == CL_SUCCESS && status == CL_SUCCESS &&
        clBuildProgram(program, 1, &device, options, NULL, NULL) == CL_SUCCESS)
        goto out;
    if (program)
        clReleaseProgram(program);
    program = NULL;
damaged:
    log_debug("%s: not usable, compiled anew", path);
out:
    buffer_clear(&file);
    return program;
}

/* A cache that cannot be written costs time at the next start and nothing else. */
static void to_cache(const char *path, cl_program program)
{
    size_t size = 0;
    unsigned char *file = NULL;
    char *folder = path_format("%.*s", (int)(strrchr(path, '/') - path), path);
    struct error error = {0};
    if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL) !=
            CL_SUCCESS ||
        size == 0 || size > BINARY_MOST)
        goto out;
    struct cache_head head = {.size = size};
    file = malloc(sizeof head + size);
    if (!file)
        goto out;
    unsigned char *binary = file + sizeof head;
    if (clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL) !=
        CL_SUCCESS)
        goto out;
    memcpy(head.magic, cache_magic, sizeof cache_magic);
    head.hash = hash_bytes(0, binary, size);
    memcpy(file, &head, sizeof head);
    if (!path_make_folders(folder, 0755, &error) ||
        !path_write(path, file, sizeof head + size, 0644, &error))
        log_debug("%s", error.text);
out:
    free(file);
    free(folder);
}

/* ---- Building */

static cl_program from_source(struct gpu *gpu, const char *file, const char *source,
                              const char *options, struct error *error)
{
    cl_device_id device = gpu_device(gpu);
    cl_int code;
    cl_program program =
        clCreateProgramWithSource(gpu_context(gpu), 1, &source, NULL, &code);
    if (!gpu_check(code, "clCreateProgramWithSource", file, error))
        return NULL;
    code = clBuildProgram(program, 1, &device, options, NULL, NULL);
    if (code == CL_SUCCESS) {
        gpu_programs(gpu)->compiled++;
        return program;
    }
    gpu_check(code, "clBuildProgram", file, error);
    size_t size = 0;
    clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, 0, NULL, &size);
    char *text = calloc(1, size + 1);
    if (text) {
        clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, size, text, NULL);
        if (gpu_programs(gpu)->quiet)
            log_debug("%s (%s): %s", file, options, text);
        else
            log_error("%s (%s): %s", file, options, text);
        free(text);
    }
    clReleaseProgram(program);
    return NULL;
}

void program_list(const char *file, const char *options)
{
    const char *path = getenv("FARM_KERNEL_LIST");
    FILE *list = path && path[0] ? fopen(path, "a") : NULL;
    if (!list)
        return;
    fprintf(list, "%s %s %s\n", file, options_of_all, options);
    fclose(list);
}

static cl_program program_of(struct gpu *gpu, const char *file, const char *options,
                             struct error *error)
{
    struct programs *self = gpu_programs(gpu);
    char *key = path_format("%s %s", file, options);
    for (size_t i = 0; i < self->program_count; i++)
        if (strcmp(self->program[i].key, key) == 0) {
            free(key);
            return self->program[i].program;
        }

    program_list(file, options);
    struct buffer source = {0};
    unsigned lanes = gpu_info(gpu)->intel_lanes;
    char *all =
        lanes ? path_format("%s -DINTEL_LANES=%u %s", options_of_all, lanes, options)
              : path_format("%s %s", options_of_all, options);
    char *path = NULL;
    cl_program program = NULL;
    if (!read_whole(file, &source, error))
        goto out;
    const char *text = buffer_text(&source);
    if (wants_cache(gpu)) {
        path = cache_path(gpu, text, all);
        program = from_cache(gpu, path, all);
    }
    if (!program) {
        program = from_source(gpu, file, text, all, error);
        if (!program)
            goto out;
        if (path)
            to_cache(path, program);
    }
    self->program =
        realloc(self->program, (self->program_count + 1) * sizeof *self->program);
    if (!self->program)
        abort();
    self->program[self->program_count++] = (struct program){key, program};
    key = NULL;
out:
    free(key);
    free(all);
    free(path);
    buffer_clear(&source);
    return program;
}

cl_kernel program_kernel(struct gpu *gpu, const char *file, const char *name,
                         const char *options, struct error *error)
{
    struct programs *self = gpu_programs(gpu);
    uint64_t hash = hash_text(hash_text(hash_text(0, file), name), options);
    for (size_t i = 0; i < self->kernel_count; i++)
        if (self->kernel[i].hash == hash)
            return self->kernel[i].kernel;

    cl_program program = program_of(gpu, file, options, error);
    if (!program)
        return NULL;
    cl_int code;
    cl_kernel kernel = clCreateKernel(program, name, &code);
    if (!gpu_check(code, "clCreateKernel", name, error))
        return NULL;
    self->kernel =
        realloc(self->kernel, (self->kernel_count + 1) * sizeof *self->kernel);
    if (!self->kernel)
        abort();
    self->kernel[self->kernel_count++] = (struct kernel){hash, kernel};
    return kernel;
}
