/* A job from outside: what passes the check expands at its first, last and middle index. */
#include <stdlib.h>

#include "proto/job/job.h"
#include "proto/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expand(const Farm__Job *job)
{
    struct error error;
    uint64_t tasks;
    if (!job_check(job, &tasks, &error))
        return;
    const uint64_t index[] = {0, tasks / 2, tasks - 1};
    for (size_t i = 0; i < 3; i++) {
        struct task task;
        uint8_t key[32];
        if (!job_expand(job, index[i], &task, &error))
            abort();
        task_key(&task, NULL, key);
        task_clear(&task);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Farm__Envelope *envelope = wire_unpack(data, size, NULL);
    if (!envelope)
        return 0;
    if (envelope->body_case == FARM__ENVELOPE__BODY_SUBMIT)
        expand(envelope->submit->job);
    farm__envelope__free_unpacked(envelope, NULL);
    return 0;
}
