#include "opencl/gpu.h"

#include <clblast_c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opencl/peak.h"
#include "opencl/program.h"

struct gpu {
    struct gpu_info info;
    cl_device_id device;
    cl_context context;
    cl_command_queue queue;
    struct programs *programs;
    struct profile *profile;          /* NULL: none */
    bool cpu_path, plans;             /* the second: and does nothing */
    struct matrix_unit unit;          /* the device's own, or a forced one */
    const struct matrix_unit *matrix; /* in use; NULL: none */
    uint64_t launches;
    size_t allocated;
};

/* ---- Devices */

struct found {
    cl_device_id device;
    cl_platform_id platform;
    cl_device_type type;
};

static void text_of(cl_device_id device, cl_device_info what, char *into, size_t size)
{
    char text[1024] = "";
    clGetDeviceInfo(device, what, sizeof text - 1, text, NULL);
    snprintf(into, size, "%s", text + strspn(text, " "));
}

static uint64_t number_of(cl_device_id device, cl_device_info what)
{
    uint64_t value = 0; /* little-endian: right for 32-bit answers too */
    clGetDeviceInfo(device, what, sizeof value, &value, NULL);
    return value;
}

enum { EXTENSIONS_MOST = 16384 };

static void read_extensions(cl_device_id device, char text[EXTENSIONS_MOST])
{
    memset(text, 0, EXTENSIONS_MOST);
    clGetDeviceInfo(device, CL_DEVICE_EXTENSIONS, EXTENSIONS_MOST - 1, text, NULL);
}

static void name_kind(struct gpu_info *info, const struct matrix_unit *unit)
{
    snprintf(info->kind, sizeof info->kind, "%.70s, %.50s, %.34s%s%.30s", info->name,
             info->driver, info->platform, unit ? ", " : "", unit ? unit->name : "");
}

static void describe(const struct found *found, struct gpu_info *info)
{
    cl_device_id device = found->device;
    *info = (struct gpu_info){.is_cpu = found->type & CL_DEVICE_TYPE_CPU};
    text_of(device, CL_DEVICE_NAME, info->name, sizeof info->name);
    text_of(device, CL_DEVICE_VENDOR, info->vendor, sizeof info->vendor);
    text_of(device, CL_DRIVER_VERSION, info->driver, sizeof info->driver);
    clGetPlatformInfo(found->platform, CL_PLATFORM_NAME, sizeof info->platform - 1,
                      info->platform, NULL);
    name_kind(info, NULL);
    char extensions[EXTENSIONS_MOST];
    read_extensions(device, extensions);
    info->intel_lanes = info->is_cpu ? 0 : matrix_intel_lanes(device, extensions);
    info->has_fp16 = strstr(extensions, "cl_khr_fp16") != NULL;
    info->units = (unsigned)number_of(device, CL_DEVICE_MAX_COMPUTE_UNITS);
    info->native_width =
        (unsigned)number_of(device, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT);
    info->memory = number_of(device, CL_DEVICE_GLOBAL_MEM_SIZE);
    info->largest_allocation = number_of(device, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    info->local_memory = number_of(device, CL_DEVICE_LOCAL_MEM_SIZE);
    info->alignment = number_of(device, CL_DEVICE_MEM_BASE_ADDR_ALIGN) / 8;
    if (info->alignment < 64)
        info->alignment = 64;
    info->group_most = number_of(device, CL_DEVICE_MAX_WORK_GROUP_SIZE);
}

static int rank_of(const struct found *found)
{
    if (found->type & CL_DEVICE_TYPE_GPU)
        return 0;
    return found->type & CL_DEVICE_TYPE_CPU ? 2 : 1;
}

enum { DEVICES_MOST = 64 };

/* Fills `found` in order and returns how many there are. */
static size_t find_devices(struct found found[DEVICES_MOST])
{
    cl_platform_id platforms[16];
    cl_uint platform_count = 0;
    if (clGetPlatformIDs(16, platforms, &platform_count) != CL_SUCCESS)
        return 0; /* the loader's way of saying that there is no platform */
    if (platform_count > 16)
        platform_count = 16;

    size_t count = 0;
    for (int rank = 0; rank < 3; rank++)
        for (cl_uint p = 0; p < platform_count; p++) {
            cl_device_id devices[DEVICES_MOST];
            cl_uint device_count = 0;
            if (clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, DEVICES_MOST, devices,
                               &device_count) != CL_SUCCESS)
                continue;
            for (cl_uint d = 0; d < device_count && count < DEVICES_MOST; d++) {
                found[count] = (struct found){
                    devices[d], platforms[p],
                    (cl_device_type)number_of(devices[d], CL_DEVICE_TYPE)};
                if (rank_of(&found[count]) == rank)
                    count++;
            }
        }
    return count;
}

bool gpu_list(struct gpu_info **infos, size_t *count, struct error *error)
{
    struct found found[DEVICES_MOST];
    *count = find_devices(found);
    *infos = calloc(*count + 1, sizeof **infos);
    if (!*infos)
        return error_set_kind(error, ERROR_MEMORY, "no memory for a list of devices");
    for (size_t i = 0; i < *count; i++)
        describe(&found[i], &(*infos)[i]);
    return true;
}

/* "6G", "512M", "4096K" or bytes: as if the device had no more. */
static void limit_memory(struct gpu_info *info, const char *limit)
{
    static const char units[] = "KMG";
    char *end = NULL;
    uint64_t bytes = limit ? strtoull(limit, &end, 10) : 0;
    const char *unit = bytes && *end ? strchr(units, *end) : NULL;
    if (unit)
        bytes <<= 10 * (unit - units + 1);
    if (bytes && bytes < info->memory)
        info->memory = bytes;
    if (info->largest_allocation > info->memory)
        info->largest_allocation = info->memory;
}

static bool find_matrix(struct gpu *self, struct error *error)
{
    bool forced;
    char extensions[EXTENSIONS_MOST];
    read_extensions(self->device, extensions);
    if (!matrix_find(&self->unit, &forced, self->device, extensions, error))
        return false;
    if (forced)
        gpu_use_matrix(self, &self->unit);
    return true;
}

static bool find_device(size_t index, struct found *into, struct error *error)
{
    struct found found[DEVICES_MOST];
    size_t count = find_devices(found);
    if (count == 0)
        return error_set_kind(
            error, ERROR_NOT_FOUND,
            "no OpenCL device: install the driver of your GPU with its OpenCL "
            "part (an .icd file in /etc/OpenCL/vendors), or pocl-opencl-icd to "
            "compute on the CPU");
    if (index >= count) {
        struct gpu_info last;
        describe(&found[count - 1], &last);
        return error_set_kind(
            error, ERROR_NOT_FOUND,
            "no OpenCL device %zu: there are %zu, the last is %zu (%s)", index, count,
            count - 1, last.name);
    }
    *into = found[index];
    return true;
}

/* Without context and queue. */
static struct gpu *gpu_new(const struct found *found, struct error *error)
{
    struct gpu *self = calloc(1, sizeof *self);
    if (!self) {
        error_set_kind(error, ERROR_MEMORY, "no memory for a device");
        return NULL;
    }
    describe(found, &self->info);
    self->device = found->device;
    self->cpu_path = self->info.is_cpu;
    const char *path = getenv("FARM_GPU_PATH");
    if (path && path[0])
        self->cpu_path = strncmp(path, "cpu", 3) == 0;
    if (path && strncmp(path, "cpu", 3) == 0 && atoi(path + 3) > 0)
        self->info.native_width = (unsigned)atoi(path + 3);
    limit_memory(&self->info, getenv("FARM_GPU_MEMORY"));
    const char *units = getenv("FARM_GPU_UNITS");
    if (units && atoi(units) > 0)
        self->info.units = (unsigned)atoi(units);
    if (!self->cpu_path && !find_matrix(self, error))
        gpu_close(&self);
    return self;
}

struct gpu *gpu_open(size_t index, struct error *error)
{
    struct found found = {0};
    struct gpu *self =
        find_device(index, &found, error) ? gpu_new(&found, error) : NULL;
    if (!self)
        return NULL;
    cl_int code;
    cl_context_properties properties[] = {CL_CONTEXT_PLATFORM,
                                          (cl_context_properties)found.platform, 0};
    self->context = clCreateContext(properties, 1, &self->device, NULL, NULL, &code);
    if (!gpu_check(code, "clCreateContext", self->info.name, error))
        goto failed;
    self->queue = clCreateCommandQueue(self->context, self->device, 0, &code);
    if (!gpu_check(code, "clCreateCommandQueue", self->info.name, error))
        goto failed;
    self->programs = programs_new();
    return self;
failed:
    gpu_close(&self);
    return NULL;
}

struct gpu *gpu_open_plan(size_t index, struct error *error)
{
    struct found found = {0};
    struct gpu *self =
        find_device(index, &found, error) ? gpu_new(&found, error) : NULL;
    if (self) {
        self->plans = true;
        gpu_use_matrix(self, gpu_matrix_candidate(self));
    }
    return self;
}

bool gpu_only_plans(const struct gpu *self)
{
    return self->plans;
}

void gpu_close(struct gpu **self)
{
    struct gpu *gpu = *self;
    if (!gpu)
        return;
    profile_destroy(&gpu->profile);
    programs_destroy(&gpu->programs);
    CLBlastClearCache(); /* its kernels belong to the context that ends here */
    if (gpu->queue)
        clReleaseCommandQueue(gpu->queue);
    if (gpu->context)
        clReleaseContext(gpu->context);
    free(gpu);
    *self = NULL;
}

bool gpu_start_profile(struct gpu *self, struct error *error)
{
    cl_int code;
    double gflops, gbps;
    if (!peak_rates(self, &gflops, &gbps, error))
        return false;
    cl_command_queue queue = clCreateCommandQueue(self->context, self->device,
                                                  CL_QUEUE_PROFILING_ENABLE, &code);
    if (!gpu_check(code, "clCreateCommandQueue", self->info.name, error))
        return false;
    clReleaseCommandQueue(self->queue);
    self->queue = queue;
    self->profile = profile_new(gflops, gbps);
    return self->profile ||
           error_set_kind(error, ERROR_MEMORY, "no memory for a profile");
}

struct profile *gpu_profile(struct gpu *self)
{
    return self->profile;
}

/* ---- Memory: a plan's is a note of its size */

static cl_mem note_size(size_t bytes, struct error *error)
{
    size_t *note = malloc(sizeof *note);
    if (note)
        *note = bytes;
    else
        error_set_kind(error, ERROR_MEMORY, "no memory for a plan");
    return (cl_mem)(void *)note;
}

static size_t size_of(const struct gpu *self, cl_mem memory)
{
    size_t bytes = 0;
    if (self->plans)
        return *(const size_t *)(const void *)memory;
    clGetMemObjectInfo(memory, CL_MEM_SIZE, sizeof bytes, &bytes, NULL);
    return bytes;
}

static cl_mem create_buffer(struct gpu *self, size_t bytes, struct error *error)
{
    cl_int code;
    cl_mem memory =
        clCreateBuffer(self->context, CL_MEM_READ_WRITE, bytes, NULL, &code);
    char subject[64];
    snprintf(subject, sizeof subject, "of %zu MiB", (bytes + (1 << 20) - 1) >> 20);
    return gpu_check(code, "clCreateBuffer", subject, error) ? memory : NULL;
}

cl_mem gpu_allocate(struct gpu *self, size_t bytes, struct error *error)
{
    if (bytes == 0)
        bytes = 1;
    if (bytes > self->info.largest_allocation) {
        error_set_kind(
            error, ERROR_MEMORY,
            "%s: a buffer of %zu MiB, the device gives at most %zu MiB at once",
            self->info.name, bytes >> 20, self->info.largest_allocation >> 20);
        return NULL;
    }
    if (!self->plans && bytes > self->info.memory - self->allocated) {
        error_set_kind(error, ERROR_MEMORY,
                       "%s: a buffer of %zu MiB, of the device's %zu MiB %zu are taken",
                       self->info.name, bytes >> 20, self->info.memory >> 20,
                       self->allocated >> 20);
        return NULL;
    }
    cl_mem memory =
        self->plans ? note_size(bytes, error) : create_buffer(self, bytes, error);
    if (!memory)
        return NULL;
    self->allocated += bytes;
    return memory;
}

void gpu_release(struct gpu *self, cl_mem *memory)
{
    if (!*memory)
        return;
    self->allocated -= size_of(self, *memory);
    gpu_release_part(self, memory);
}

void gpu_release_part(struct gpu *self, cl_mem *part)
{
    if (*part && self->plans)
        free((void *)*part);
    else if (*part)
        clReleaseMemObject(*part);
    *part = NULL;
}

cl_mem gpu_part(struct gpu *self, cl_mem memory, size_t offset, size_t bytes,
                struct error *error)
{
    if (self->plans)
        return note_size(bytes, error);
    cl_int code;
    cl_buffer_region region = {offset, bytes ? bytes : 1};
    cl_mem part = clCreateSubBuffer(memory, CL_MEM_READ_WRITE,
                                    CL_BUFFER_CREATE_TYPE_REGION, &region, &code);
    return gpu_check(code, "clCreateSubBuffer", "", error) ? part : NULL;
}

bool gpu_write(struct gpu *self, cl_mem memory, const void *from, size_t bytes,
               struct error *error)
{
    if (self->plans)
        return true;
    cl_int code = clEnqueueWriteBuffer(self->queue, memory, CL_TRUE, 0, bytes, from, 0,
                                       NULL, NULL);
    return gpu_check(code, "clEnqueueWriteBuffer", "", error);
}

bool gpu_read(struct gpu *self, cl_mem memory, void *into, size_t bytes,
              struct error *error)
{
    if (self->plans) {
        memset(into, 0, bytes);
        return true;
    }
    cl_int code = clEnqueueReadBuffer(self->queue, memory, CL_TRUE, 0, bytes, into, 0,
                                      NULL, NULL);
    return gpu_check(code, "clEnqueueReadBuffer", "", error);
}

void *gpu_map(struct gpu *self, cl_mem memory, size_t bytes, struct error *error)
{
    cl_int code;
    void *mapped =
        clEnqueueMapBuffer(self->queue, memory, CL_TRUE, CL_MAP_WRITE_INVALIDATE_REGION,
                           0, bytes, 0, NULL, NULL, &code);
    return gpu_check(code, "clEnqueueMapBuffer", "", error) ? mapped : NULL;
}

bool gpu_unmap(struct gpu *self, cl_mem memory, void *mapped, struct error *error)
{
    cl_int code = clEnqueueUnmapMemObject(self->queue, memory, mapped, 0, NULL, NULL);
    return gpu_check(code, "clEnqueueUnmapMemObject", "", error) &&
           gpu_finish(self, error);
}

/* ---- Commands */

bool gpu_enqueue(struct gpu *self, cl_kernel kernel, const char *name,
                 const size_t global[3], const size_t local[3], struct cost cost,
                 struct error *error)
{
    cl_event event;
    cl_int code = clEnqueueNDRangeKernel(self->queue, kernel, 3, NULL, global, local, 0,
                                         NULL, self->profile ? &event : NULL);
    self->launches++;
    if (self->profile && code == CL_SUCCESS)
        profile_add(self->profile, name, cost, event);
    return gpu_check(code, "clEnqueueNDRangeKernel", name, error);
}

bool gpu_flush(struct gpu *self, struct error *error)
{
    return self->plans || gpu_check(clFlush(self->queue), "clFlush", "", error);
}

bool gpu_finish(struct gpu *self, struct error *error)
{
    return self->plans ||
           gpu_check(clFinish(self->queue), "clFinish", self->info.name, error);
}

const struct gpu_info *gpu_info(const struct gpu *self)
{
    return &self->info;
}

bool gpu_is_cpu_path(const struct gpu *self)
{
    return self->cpu_path;
}

const struct matrix_unit *gpu_matrix(const struct gpu *self)
{
    return self->matrix;
}

const struct matrix_unit *gpu_matrix_candidate(const struct gpu *self)
{
    return self->unit.name ? &self->unit : NULL;
}

void gpu_use_matrix(struct gpu *self, const struct matrix_unit *unit)
{
    self->matrix = unit;
    name_kind(&self->info, unit);
}

cl_context gpu_context(const struct gpu *self)
{
    return self->context;
}

cl_command_queue gpu_queue(const struct gpu *self)
{
    return self->queue;
}

cl_device_id gpu_device(const struct gpu *self)
{
    return self->device;
}

struct programs *gpu_programs(const struct gpu *self)
{
    return self->programs;
}

uint64_t gpu_launches(const struct gpu *self)
{
    return self->launches;
}

size_t gpu_allocated(const struct gpu *self)
{
    return self->allocated;
}
