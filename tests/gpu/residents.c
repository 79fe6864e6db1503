/* Several models and sets of LoRAs on one device, with room for all and without. */
#include "worker/sd/residents.h"
#include "tests/gpu/support_run.h"

#define LORA FARM_GOLDEN_DIR "/lora/kohya.safetensors"

/* Three models of two folders' content. */
static struct kind {
    const char *folder;
    enum dtype dtype;
    struct model_files files;
    struct footprint plan;
} kinds[] = {{.folder = "tiny"}, {.folder = "variant"}, {.folder = "tiny", DTYPE_F16}};
enum { KINDS = sizeof kinds / sizeof *kinds };

static struct residents residents;
static size_t loads;

static int open_all(void **state)
{
    struct error error = {0};
    if (open_cpu_path(state) != 0)
        return -1;
    for (size_t i = 0; i < KINDS; i++) {
        char *folder = model_path(kinds[i].folder, "");
        const struct footprint_request request = {
            .files = &kinds[i].files,
            .dtype = kinds[i].dtype,
            .width = 64,
            .height = 64,
            .images = 1,
        };
        bool ok = model_files_from_folder(&kinds[i].files, folder, &error) &&
                  footprint_plan(&kinds[i].plan, 0, &request, &error);
        free(folder);
        if (!ok)
            fail_msg("%s: %s", kinds[i].folder, error.text);
    }
    return 0;
}

static int close_all(void **state)
{
    for (size_t i = 0; i < KINDS; i++)
        model_files_clear(&kinds[i].files);
    return close_gpu(state);
}

/* The device anew, with so much memory; 0: all it has. */
static void open_with(size_t memory)
{
    char bytes[32];
    residents_clear(&residents);
    close_gpu(NULL);
    snprintf(bytes, sizeof bytes, "%zu", memory);
    if (memory)
        setenv("FARM_GPU_MEMORY", bytes, 1);
    assert_int_equal(open_cpu_path(NULL), 0);
    unsetenv("FARM_GPU_MEMORY");
    residents = (struct residents){.gpu = gpu};
    loads = 0;
}

/* A task of that model, as a worker goes about it; its picture. */
static struct image task_of(size_t kind, size_t side, const struct adapter_use *lora)
{
    struct image image;
    uint8_t id[32] = {(uint8_t)strlen(kinds[kind].folder)};
    struct image_request request = apple_request();
    request.steps = 1;
    request.width = request.height = side;
    request.loras = lora;
    request.lora_count = lora ? 1 : 0;
    struct pipeline *pipeline = residents_find(&residents, id, kinds[kind].dtype);
    if (!pipeline) {
        loads++;
        assert_ok(pipeline = residents_bring(&residents, id, kinds[kind].dtype,
                                             &kinds[kind].files, kinds[kind].plan.whole,
                                             &error));
    }
    assert_ok(pipeline_render(pipeline, &request, 1, NULL, NULL, &image, &error));
    assert_true(gpu_allocated(gpu) <= gpu_info(gpu)->memory);
    return image;
}

static void expect(struct image image, const struct image *same)
{
    assert_memory_equal(image.rgb, same->rgb, image.width * image.height * 3);
    image_clear(&image);
}

static void models_that_alternate_load_once_where_there_is_room(void **state)
{
    struct image first[2];
    open_with(kinds[0].plan.whole + kinds[1].plan.whole);
    for (size_t i = 0; i < 2; i++)
        first[i] = task_of(i, 64, NULL);
    for (size_t i = 0; i < 6; i++)
        expect(task_of(i % 2, 64, NULL), &first[i % 2]);
    assert_int_equal(loads, 2);
    assert_int_equal(residents.count, 2);
    assert_int_equal(residents_planned(&residents),
                     kinds[0].plan.whole + kinds[1].plan.whole);
    assert_int_equal(residents_planned(&residents), gpu_allocated(gpu));
    /* a little less, and each goes for the other: the pictures are the same */
    open_with(kinds[0].plan.whole + kinds[1].plan.whole - 1000);
    for (size_t i = 0; i < 4; i++) {
        expect(task_of(i % 2, 64, NULL), &first[i % 2]);
        assert_int_equal(residents.count, 1);
    }
    assert_int_equal(loads, 4);
    for (size_t i = 0; i < 2; i++)
        image_clear(&first[i]);
}

static void the_one_not_used_for_longest_goes(void **state)
{
    size_t second = kinds[1].plan.whole, third = kinds[2].plan.whole;
    struct image image;
    open_with(kinds[0].plan.whole + (second > third ? second : third));
    static const size_t order[] = {0, 1, 0, 2, 0, 2, 1};
    static const size_t loaded[] = {1, 2, 2, 3, 3, 3, 4};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        image = task_of(order[i], 64, NULL);
        image_clear(&image);
        assert_int_equal(loads, loaded[i]);
    }
}

static void a_larger_picture_takes_the_place_of_another_model(void **state)
{
    struct image roomy, small;
    open_with(0);
    roomy = task_of(0, 128, NULL);
    open_with(kinds[0].plan.whole + kinds[1].plan.whole);
    for (size_t i = 2; i-- > 0;) {
        small = task_of(i, 64, NULL);
        image_clear(&small);
    }
    assert_int_equal(residents.count, 2);
    expect(task_of(0, 128, NULL), &roomy);
    assert_int_equal(residents.count, 1);
    image_clear(&roomy);
}

/* Room for one set beside the model and its plans, with another model there at first. */
static void sets_of_loras_go_before_a_task_fails(void **state)
{
    struct adapter_use use[3];
    struct image roomy[3], other;
    open_with(0);
    for (size_t i = 0; i < 3; i++) {
        use[i] = (struct adapter_use){LORA, "kohya", 1 - 0.25 * (double)i};
        roomy[i] = task_of(0, 64, &use[i]);
    }
    size_t sets = gpu_allocated(gpu) - kinds[0].plan.whole;
    assert_true(sets > 0);
    size_t room = sets / 3 + sets / 10 + kinds[0].plan.whole;
    open_with(room > kinds[1].plan.whole ? room : kinds[1].plan.whole);
    other = task_of(1, 64, NULL);
    image_clear(&other);
    for (size_t i = 0; i < 6; i++)
        expect(task_of(0, 64, &use[i % 3]), &roomy[i % 3]);
    assert_int_equal(residents.count, 1);
    for (size_t i = 0; i < 3; i++)
        image_clear(&roomy[i]);
    residents_clear(&residents);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_that_alternate_load_once_where_there_is_room),
        cmocka_unit_test(the_one_not_used_for_longest_goes),
        cmocka_unit_test(a_larger_picture_takes_the_place_of_another_model),
        cmocka_unit_test(sets_of_loras_go_before_a_task_fails),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
