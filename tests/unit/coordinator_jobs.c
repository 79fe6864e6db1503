#include <stdlib.h>
#include <string.h>

#include "coordinator/jobs.h"
#include "proto/wire.h"
#include "tests/test.h"

static struct models models;

/* A manifest of one made-up file; a factor of 0: a picture. */
static struct model *add_model(const char *name, uint8_t content, uint32_t factor,
                               bool complete)
{
    uint8_t blob[32] = {content};
    Farm__ModelFile file = FARM__MODEL_FILE__INIT, *files[] = {&file};
    file.path = wire_text(factor ? "model.bin" : "picture");
    file.size = 1;
    file.blob = file.sha256 = wire_bytes(blob, sizeof blob);
    Farm__Manifest manifest = FARM__MANIFEST__INIT;
    manifest.n_files = 1;
    manifest.files = files;
    manifest.kind = wire_text(factor ? "diffusers" : "picture");
    manifest.factor = factor;
    manifest.width = 64;
    manifest.height = 96;
    return models_add(&models, &manifest, name, complete, 0);
}

static bool expand(const Farm__Job *job, uint64_t index, struct task *task)
{
    return job_expand(job, index, task, NULL) && job_fill(task, &models, NULL);
}

static int open_models(void **state)
{
    models_init(&models);
    add_model("tiny", 1, 8, true);
    return 0;
}

static int close_models(void **state)
{
    models_clear(&models);
    return 0;
}

/* A heap job with one prompt and two seeds; settings follow as name, value, ..., NULL. */
static Farm__Job *make_job(const char *name, ...)
{
    Farm__Setting setting[8], *settings[8];
    ProtobufCBinaryData prompt = wire_text("a cat");
    Farm__SeedRange range = FARM__SEED_RANGE__INIT, *seeds[] = {&range};
    range.count = 2;
    Farm__Job job = FARM__JOB__INIT;
    job.n_prompts = job.n_seeds = 1;
    job.prompts = &prompt;
    job.seeds = seeds;
    job.settings = settings;
    va_list more;
    va_start(more, name);
    for (; name; name = va_arg(more, const char *)) {
        Farm__Setting *next = &setting[job.n_settings];
        farm__setting__init(next);
        next->name = wire_text(name);
        next->value = wire_text(va_arg(more, const char *));
        settings[job.n_settings++] = next;
    }
    va_end(more);
    size_t size = farm__job__get_packed_size(&job);
    uint8_t *packed = malloc(size);
    farm__job__pack(&job, packed);
    Farm__Job *copy = farm__job__unpack(NULL, size, packed);
    free(packed);
    return copy;
}

static void assert_refused(Farm__Job *job, const char *text)
{
    struct error error = {0};
    uint64_t tasks;
    assert_false(job_resolve(job, &models, &tasks, &error));
    if (!strstr(error.text, text))
        fail_msg("\"%s\" does not say \"%s\"", error.text, text);
    farm__job__free_unpacked(job, NULL);
}

static void a_resolved_job_names_its_model_by_id_and_its_tasks_have_a_size(void **state)
{
    struct task task;
    uint64_t tasks;
    Farm__Job *job = make_job("model", "tiny", NULL);
    assert_true(job_resolve(job, &models, &tasks, NULL));
    assert_int_equal(tasks, 2);
    /* The name may later mean another model; the job keeps the one it was given. */
    add_model("tiny", 2, 8, true);
    assert_true(expand(job, 1, &task));
    assert_int_equal(strlen(task.model), 64);
    assert_int_equal(task.width, 64);
    assert_int_equal(task.height, 96);
    assert_int_equal(task.seed, 1);
    assert_string_equal(task.precision, "f32");
    task_clear(&task);
    farm__job__free_unpacked(job, NULL);
}

static void a_name_means_the_newest_complete_model_of_that_name(void **state)
{
    struct model *newer = add_model("tiny", 2, 8, true);
    add_model("tiny", 3, 8, false);
    assert_ptr_equal(models_resolve(&models, NULL, "tiny", NULL), newer);
    char id[BLOB_TEXT];
    blob_format(newer->id, id);
    id[10] = 0;
    assert_ptr_equal(models_resolve(&models, NULL, id, NULL), newer);
}

static void an_unknown_model_is_answered_with_those_there_are(void **state)
{
    add_model("half", 3, 8, false);
    assert_refused(make_job("model", "nosuch", NULL),
                   "no model \"nosuch\"; it has tiny");
    assert_refused(make_job("model", "half", NULL), "no model \"half\"");
}

static void a_file_is_named_by_its_id_in_tasks(void **state)
{
    struct task task;
    uint64_t tasks;
    char id[BLOB_TEXT], prefix[BLOB_TEXT];
    blob_format(add_model("cat", 7, 0, true)->id, id);
    snprintf(prefix, sizeof prefix, "%.12s", id);
    Farm__Job *by_name = make_job("model", "tiny", "init", "cat", NULL);
    Farm__Job *by_id = make_job("model", "tiny", "init", prefix, NULL);
    assert_true(job_resolve(by_name, &models, &tasks, NULL));
    assert_true(job_resolve(by_id, &models, &tasks, NULL));
    assert_true(expand(by_name, 0, &task));
    assert_string_equal(task.init, id);
    task_clear(&task);
    assert_true(expand(by_id, 1, &task));
    assert_string_equal(task.init, id);
    task_clear(&task);
    farm__job__free_unpacked(by_name, NULL);
    farm__job__free_unpacked(by_id, NULL);
}

static void an_unknown_or_unfinished_file_is_refused(void **state)
{
    add_model("half", 8, 0, false);
    assert_refused(make_job("model", "tiny", "init", "half", NULL),
                   "init: picture: the farm has no picture \"half\"");
    add_model("cat", 7, 0, true);
    assert_refused(make_job("model", "tiny", "init", "dog", NULL), "it has cat");
}

static void a_model_is_no_file_and_a_file_is_no_model(void **state)
{
    add_model("cat", 7, 0, true);
    assert_refused(make_job("model", "cat", NULL), "no model \"cat\"; it has tiny");
    assert_refused(make_job("model", "tiny", "init", "tiny", NULL),
                   "no picture \"tiny\"; it has cat");
}

static void a_refiner_is_a_model_and_keeps_where_it_goes_on(void **state)
{
    struct task task;
    uint64_t tasks;
    char id[BLOB_TEXT], want[BLOB_TEXT + 8];
    blob_format(add_model("second", 9, 8, true)->id, id);
    add_model("cat", 7, 0, true);
    Farm__Job *job = make_job("model", "tiny", "refiner", "second:0.60", NULL);
    assert_true(job_resolve(job, &models, &tasks, NULL));
    assert_true(expand(job, 0, &task));
    snprintf(want, sizeof want, "%s:0.6", id);
    assert_string_equal(task.refiner, want);
    task_clear(&task);
    farm__job__free_unpacked(job, NULL);
    assert_refused(make_job("model", "tiny", "refiner", "cat", NULL),
                   "refiner: model: the farm has no model \"cat\"");
}

static void sizes_must_be_multiples_of_every_models_factor(void **state)
{
    uint64_t tasks;
    Farm__Job *job = make_job("model", "tiny", "size", "72x64", NULL);
    assert_true(job_resolve(job, &models, &tasks, NULL));
    farm__job__free_unpacked(job, NULL);
    assert_refused(make_job("model", "tiny", "size", "64x100", NULL),
                   "64x100, model tiny needs multiples of 8; the nearest below is "
                   "64x96");
}

static void jobs_are_found_by_prefix_label_and_last(void **state)
{
    struct queue *queue = queue_new(1, 1000);
    struct error error = {0};
    for (uint8_t j = 1; j <= 3; j++) {
        struct job_row row = {.submitter = {j}};
        uint8_t id[QUEUE_JOB_ID] = {0xa0, j};
        Farm__Job *job = make_job(NULL);
        struct queue_job *queued = queue_add(queue, id, j, 2, false);
        queued->tag = job_new(&row, &job);
        free(((struct job *)queued->tag)->label);
        ((struct job *)queued->tag)->label = strdup(j == 3 ? "" : "same");
    }
    uint8_t owner[32] = {1};
    assert_int_equal(job_find(queue, "a002", NULL, &error)->order, 2);
    assert_int_equal(job_find(queue, "same", NULL, &error)->order, 2);
    assert_int_equal(job_find(queue, "last", NULL, &error)->order, 3);
    assert_int_equal(job_find(queue, "last", owner, &error)->order, 1);
    assert_null(job_find(queue, "a002", owner, &error));
    assert_null(job_find(queue, "a0", NULL, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_null(job_find(queue, "", NULL, &error));
    assert_int_equal(error.kind, ERROR_NOT_FOUND);
    for (struct queue_job *j = zhashx_first(queue->jobs); j;
         j = zhashx_next(queue->jobs)) {
        struct job *own = j->tag;
        job_destroy(&own);
    }
    queue_destroy(&queue);
}

#define JOBS_TEST(name) cmocka_unit_test_setup_teardown(name, open_models, close_models)

int main(void)
{
    const struct CMUnitTest tests[] = {
        JOBS_TEST(a_resolved_job_names_its_model_by_id_and_its_tasks_have_a_size),
        JOBS_TEST(a_name_means_the_newest_complete_model_of_that_name),
        JOBS_TEST(an_unknown_model_is_answered_with_those_there_are),
        JOBS_TEST(a_file_is_named_by_its_id_in_tasks),
        JOBS_TEST(an_unknown_or_unfinished_file_is_refused),
        JOBS_TEST(a_model_is_no_file_and_a_file_is_no_model),
        JOBS_TEST(a_refiner_is_a_model_and_keeps_where_it_goes_on),
        JOBS_TEST(sizes_must_be_multiples_of_every_models_factor),
        JOBS_TEST(jobs_are_found_by_prefix_label_and_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
