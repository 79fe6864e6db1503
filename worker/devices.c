#include "worker/devices.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "opencl/gpu.h"

static void print_json(const struct gpu_info *infos, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(
            list,
            json_pack("{si ss ss ss ss sb sb si sI}", "index", (int)i, "name",
                      infos[i].name, "vendor", infos[i].vendor, "driver",
                      infos[i].driver, "kind", infos[i].kind, "cpu", infos[i].is_cpu,
                      "fp16", infos[i].has_fp16, "units", (int)infos[i].units, "memory",
                      (json_int_t)infos[i].memory));
    json_t *document = json_pack("{so}", "devices", list);
    json_dumpf(document, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
    putchar('\n');
    json_decref(document);
}

int devices_show(bool json)
{
    struct gpu_info *infos = NULL;
    size_t count = 0;
    struct error error = {0};
    if (!gpu_list(&infos, &count, &error)) {
        fprintf(stderr, "farm-worker: %s\n", error.text);
        return 1;
    }
    if (json)
        print_json(infos, count);
    else if (!count)
        fputs("farm-worker: no OpenCL device here: install your GPU's OpenCL driver, "
              "or pocl-opencl-icd to use the processor\n",
              stderr);
    for (size_t i = 0; i < count && !json; i++)
        printf("%zu  %s  (%s, %u units, %zu MiB%s)\n", i, infos[i].name,
               infos[i].driver, infos[i].units, infos[i].memory >> 20,
               infos[i].has_fp16 ? ", fp16" : "");
    free(infos);
    return count ? 0 : 2;
}
