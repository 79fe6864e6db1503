#include "tests/test.h"

#include <string.h>

#include "proto/wire.h"
#include "worker/attempts.h"

static uint32_t at_once; /* of what is added next */
static const uint8_t model_a[BLOB_ID] = {1}, model_b[BLOB_ID] = {2};

static Farm__Checkpoint *half; /* of what is added next */

/* Adds attempt (1, counter) of the model with these settings: name, value, ..., NULL. */
static bool add_with(struct attempts *attempts, uint64_t counter, const uint8_t *model,
                     const char *const *pairs, const uint8_t *input,
                     struct error *error)
{
    static const uint8_t job[16], key[32];
    Farm__Setting settings[8], *list[8];
    size_t count = 0;
    for (; pairs && pairs[2 * count]; count++) {
        farm__setting__init(&settings[count]);
        settings[count].name = wire_text(pairs[2 * count]);
        settings[count].value = wire_text(pairs[2 * count + 1]);
        list[count] = &settings[count];
    }
    Farm__AttemptId id = FARM__ATTEMPT_ID__INIT;
    id.epoch = 1;
    id.counter = counter;
    Farm__Attempt attempt = FARM__ATTEMPT__INIT;
    attempt.id = &id;
    attempt.job = wire_bytes(job, sizeof job);
    attempt.key = wire_bytes(key, sizeof key);
    attempt.model = wire_bytes(model, BLOB_ID);
    attempt.checkpoint = half;
    attempt.settings = list;
    attempt.n_settings = count;
    ProtobufCBinaryData inputs = wire_bytes(input, BLOB_ID);
    attempt.inputs = &inputs;
    attempt.n_inputs = input != NULL;
    return attempts_add(attempts, &attempt, at_once, error);
}

static bool add(struct attempts *attempts, uint64_t counter, const uint8_t *model,
                const char *const *pairs, struct error *error)
{
    return add_with(attempts, counter, model, pairs, NULL, error);
}

static void a_batch_shares_its_files(void **state)
{
    struct attempts attempts = {0};
    struct attempt *batch[BATCH_MOST];
    assert_true(add_with(&attempts, 1, model_a, NULL, model_a, NULL));
    assert_true(add_with(&attempts, 2, model_a, NULL, model_b, NULL));
    assert_true(add_with(&attempts, 3, model_a, NULL, NULL, NULL));
    assert_true(add_with(&attempts, 4, model_a, NULL, model_a, NULL));
    assert_int_equal(attempts_batch(&attempts, model_a, 4, batch), 2);
    assert_int_equal(batch[1]->counter, 4);
    assert_memory_equal(batch[1]->input[0], model_a, BLOB_ID);
    attempts_clear(&attempts);
}

/* Adds an attempt with seed 7 that goes on from step 5 when its snapshot is there. */
static struct attempt *add_half(struct attempts *attempts, uint64_t counter)
{
    static const uint8_t blob[BLOB_ID] = {3};
    const char *seed[] = {"seed", "7", NULL};
    Farm__Checkpoint checkpoint = FARM__CHECKPOINT__INIT;
    checkpoint.step = 5;
    checkpoint.size = 100;
    checkpoint.blob = wire_bytes(blob, sizeof blob);
    half = &checkpoint;
    assert_true(add(attempts, counter, model_a, seed, NULL));
    half = NULL;
    struct attempt *attempt = attempts_find(attempts, 1, counter);
    assert_int_equal(attempt->start.state, START_ELSEWHERE);
    return attempt;
}

/* Whether the attempt goes on from a snapshot with these. */
static bool goes_on(struct attempt *attempt, size_t step, uint64_t seed, uint8_t tag,
                    struct error *error)
{
    struct snapshot snapshot = {.c = 1, .h = 1, .w = 1, .step = step, .steps = 20};
    struct buffer bytes = {0};
    snapshot.seed = seed;
    snapshot.tag[31] = tag;
    assert_true(snapshot_make(&snapshot, NULL) &&
                snapshot_write(&snapshot, &bytes, NULL));
    bool ok = attempt_start_from(attempt, bytes.data, bytes.size, error);
    snapshot_clear(&snapshot);
    buffer_clear(&bytes);
    return ok;
}

static void a_snapshot_of_another_task_seed_or_step_is_refused(void **state)
{
    static const struct {
        size_t step;
        uint64_t seed;
        uint8_t tag;
        bool fits;
    } cases[] = {{5, 7, 0, true}, {6, 7, 0, false}, {5, 8, 0, false}, {5, 7, 1, false}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct attempts attempts = {0};
        struct error error = {0};
        struct attempt *attempt = add_half(&attempts, 1);
        assert_int_equal(
            goes_on(attempt, cases[c].step, cases[c].seed, cases[c].tag, &error),
            cases[c].fits);
        assert_int_equal(attempt->start.state, cases[c].fits ? START_HERE : START_ANEW);
        assert_int_equal(error.kind, cases[c].fits ? 0 : ERROR_INPUT);
        attempts_clear(&attempts);
    }
}

static void a_batch_begins_at_one_step_and_ends_alike(void **state)
{
    struct attempts attempts = {0};
    struct attempt *batch[BATCH_MOST];
    const char *seed[] = {"seed", "1", NULL};
    struct attempt *first = add_half(&attempts, 1);
    assert_true(goes_on(first, 5, 7, 0, NULL));
    assert_true(add(&attempts, 2, model_a, seed, NULL));
    assert_true(goes_on(add_half(&attempts, 3), 5, 7, 0, NULL));
    assert_int_equal(attempts_batch(&attempts, model_a, 4, batch), 2);
    assert_int_equal(batch[1]->counter, 3);
    attempt_start_anew(first);
    assert_int_equal(attempts_batch(&attempts, model_a, 4, batch), 2);
    assert_int_equal(batch[1]->counter, 2);
    first->hand_on = true;
    assert_int_equal(attempts_batch(&attempts, model_a, 4, batch), 1);
    attempts_clear(&attempts);
}

static void a_batch_differs_in_prompt_and_seed_only(void **state)
{
    struct attempts attempts = {0};
    const char *plain[] = {"prompt", "a cat", "seed", "1", NULL};
    const char *other_seed[] = {"prompt", "a dog", "seed", "2", NULL};
    const char *other_steps[] = {"prompt", "a cat", "seed", "3", "steps", "7", NULL};
    const char *other_size[] = {"prompt", "a cat", "size", "64x128", NULL};
    assert_true(add(&attempts, 1, model_a, plain, NULL));
    assert_true(add(&attempts, 2, model_a, other_steps, NULL));
    assert_true(add(&attempts, 3, model_b, plain, NULL));
    assert_true(add(&attempts, 4, model_a, other_size, NULL));
    assert_true(add(&attempts, 5, model_a, other_seed, NULL));

    struct attempt *batch[BATCH_MOST];
    assert_int_equal(attempts_batch(&attempts, model_a, 4, batch), 2);
    assert_int_equal(batch[0]->counter, 1);
    assert_int_equal(batch[1]->counter, 5);
    assert_int_equal(attempts_batch(&attempts, model_a, 1, batch), 1);
    attempts_clear(&attempts);
}

static void a_batch_is_as_large_as_was_measured_best(void **state)
{
    struct attempts attempts = {0};
    struct attempt *batch[BATCH_MOST];
    at_once = 2;
    for (uint64_t i = 1; i <= 4; i++)
        assert_true(add(&attempts, i, model_a, NULL, NULL));
    at_once = 0;
    assert_int_equal(attempts_batch(&attempts, model_a, 4, batch), 2);
    assert_int_equal(attempts_batch(&attempts, model_a, 1, batch), 1);
    attempts_clear(&attempts);
}

static void what_failed_unheard_is_kept_and_not_rendered_again(void **state)
{
    struct attempts attempts = {0};
    struct attempt *batch[BATCH_MOST];
    struct error why = {.text = "the device is gone"};
    assert_true(add(&attempts, 1, model_a, NULL, NULL));
    attempt_keep_failure(attempts_find(&attempts, 1, 1), &why);
    assert_int_equal(attempts_batch(&attempts, model_a, 4, batch), 0);
    assert_int_equal(attempts_unrendered(&attempts), 0);
    assert_string_equal(attempts_find(&attempts, 1, 1)->failed->text,
                        "the device is gone");
    attempts_clear(&attempts);
}

static void what_renders_is_in_no_second_batch(void **state)
{
    struct attempts attempts = {0};
    for (uint64_t i = 1; i <= 3; i++)
        assert_true(add(&attempts, i, model_a, NULL, NULL));
    attempts.item[0]->state = FARM__ATTEMPT_STATE__ATTEMPT_RENDERING;
    attempts.item[1]->state = FARM__ATTEMPT_STATE__ATTEMPT_UPLOADING;
    struct attempt *batch[BATCH_MOST];
    assert_int_equal(attempts_batch(&attempts, model_a, 4, batch), 1);
    assert_int_equal(batch[0]->counter, 3);
    assert_int_equal(attempts_unrendered(&attempts), 2);
    attempts_clear(&attempts);
}

static void the_same_attempt_twice_is_held_once(void **state)
{
    struct attempts attempts = {0};
    assert_true(add(&attempts, 9, model_a, NULL, NULL));
    attempts.item[0]->step = 5;
    assert_true(add(&attempts, 9, model_a, NULL, NULL));
    assert_int_equal(attempts.count, 1);
    assert_int_equal(attempts.item[0]->step, 5);
    attempts_remove(&attempts, 1, 9);
    assert_int_equal(attempts.count, 0);
    assert_null(attempts_find(&attempts, 1, 9));
}

static void a_setting_that_is_none_is_refused_by_name(void **state)
{
    struct attempts attempts = {0};
    struct error error = {0};
    const char *odd[] = {"stepz", "7", NULL};
    assert_false(add(&attempts, 1, model_a, odd, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_non_null(strstr(error.text, "stepz"));
    assert_int_equal(attempts.count, 0);
}

static void no_more_than_the_limit_is_held(void **state)
{
    struct attempts attempts = {0};
    struct error error = {0};
    for (uint64_t i = 0; i < ATTEMPTS_MOST; i++)
        assert_true(add(&attempts, i, model_a, NULL, NULL));
    assert_false(add(&attempts, ATTEMPTS_MOST, model_a, NULL, &error));
    assert_int_equal(error.kind, ERROR_BUSY);
    attempts_clear(&attempts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_differs_in_prompt_and_seed_only),
        cmocka_unit_test(a_batch_shares_its_files),
        cmocka_unit_test(a_batch_begins_at_one_step_and_ends_alike),
        cmocka_unit_test(a_snapshot_of_another_task_seed_or_step_is_refused),
        cmocka_unit_test(a_batch_is_as_large_as_was_measured_best),
        cmocka_unit_test(what_failed_unheard_is_kept_and_not_rendered_again),
        cmocka_unit_test(what_renders_is_in_no_second_batch),
        cmocka_unit_test(the_same_attempt_twice_is_held_once),
        cmocka_unit_test(a_setting_that_is_none_is_refused_by_name),
        cmocka_unit_test(no_more_than_the_limit_is_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
