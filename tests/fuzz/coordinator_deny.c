/* Any bytes as a deny list, and what is behind a zero as a prompt and a negative one: an
 * error, or a verdict, for bounded work. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "coordinator/deny.h"
#include "proto/job/job.h"
#include "proto/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(const struct deny *list, char *text)
{
    char rule[DENY_NAME];
    double share;
    uint64_t tasks;
    struct error error = {0};
    ProtobufCBinaryData prompt = wire_text(text);
    Farm__Setting negative = FARM__SETTING__INIT, *settings[] = {&negative};
    negative.name = wire_text("negative");
    negative.value = prompt;
    Farm__SeedRange range = FARM__SEED_RANGE__INIT, *seeds[] = {&range};
    range.count = 1;
    Farm__Job job = FARM__JOB__INIT;
    job.prompts = &prompt;
    job.seeds = seeds;
    job.settings = settings;
    job.n_prompts = job.n_seeds = job.n_settings = 1;
    if (!job_check(&job, &tasks, &error))
        return;
    bool ok = deny_permits(list, FARM__ROLE__ROLE_SUBMIT, &job, rule, &share, &error);
    if (ok == !!*rule || share < 0 || share > 2)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char path[] = "/dev/shm/farm-fuzz-XXXXXX";
    struct error error = {0};
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    size_t first = zero ? (size_t)(zero - data) : size;
    if (path[sizeof path - 2] == 'X')
        close(mkstemp(path));
    if (!path_write(path, data, first, 0600, &error))
        abort();
    struct deny *list = deny_open(path, &error);
    if (!list && !*error.text)
        abort();
    char *text = calloc(1, size + 1);
    memcpy(text, zero ? zero + 1 : data, zero ? size - first - 1 : 0);
    if (list)
        judge(list, text);
    free(text);
    deny_close(&list);
    unlink(path);
    return 0;
}
