#include "opencl/arena.h"
#include "tests/gpu/support_ops.h"

enum { ALIGNMENT = 128 };

static size_t draw(uint64_t *state, size_t below)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(*state >> 33) % below;
}

static void assert_apart(const struct arena_block *blocks, size_t count, size_t most)
{
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(blocks[i].offset % ALIGNMENT, 0);
        assert_true(blocks[i].offset + blocks[i].bytes <= most);
        for (size_t j = 0; j < i; j++) {
            const struct arena_block *a = &blocks[i], *b = &blocks[j];
            bool together = a->from < b->until && b->from < a->until;
            bool overlap = a->buffer == b->buffer && a->offset < b->offset + b->bytes &&
                           b->offset < a->offset + a->bytes;
            assert_false(together && overlap);
        }
    }
}

static void blocks_that_live_together_never_overlap(void **state)
{
    enum { COUNT = 300 };
    uint64_t random = 1;
    for (size_t round = 0; round < 30; round++) {
        struct arena_block blocks[COUNT];
        struct arena_layout layout;
        size_t most = round % 3 == 0 ? 200 * ALIGNMENT : (size_t)1 << 40;
        for (size_t i = 0; i < COUNT; i++) {
            size_t from = draw(&random, 600);
            blocks[i] =
                (struct arena_block){.bytes = 1 + draw(&random, 100 * ALIGNMENT),
                                     .from = from,
                                     .until = from + 1 + draw(&random, 80)};
        }
        assert_ok(arena_lay_out(blocks, COUNT, ALIGNMENT, most, &layout, &error));
        assert_apart(blocks, COUNT, most);
        assert_true(layout.bytes >= layout.live);
        for (size_t i = 0; i < layout.buffer_count; i++)
            assert_true(layout.buffer_bytes[i] <= most);
        if (round % 3 == 0)
            assert_true(layout.buffer_count > 1);
        else
            assert_int_equal(layout.buffer_count, 1);
        arena_layout_clear(&layout);
    }
}

static void a_block_beyond_the_limit_is_a_memory_error(void **state)
{
    struct error error = {0};
    struct arena_block block = {.bytes = 1 << 20, .until = 1};
    struct arena_layout layout;
    assert_false(arena_lay_out(&block, 1, ALIGNMENT, (1 << 20) - 1, &layout, &error));
    assert_int_equal(error.kind, ERROR_MEMORY);
}

/* The shape of a UNet: skip connections that live long, layers that live short. */
static void forward(struct stream *s, void *context)
{
    enum { LEVELS = 4, BLOCKS = 3 };
    struct tensor skips[LEVELS * BLOCKS], x = tensor_take(s, 1, 64, 64, 32);
    for (size_t i = 0; i < LEVELS * BLOCKS; i++) {
        size_t side = (size_t)64 >> i / BLOCKS, c = (size_t)32 << i / BLOCKS;
        struct tensor inner = tensor_take(s, 1, side, side, c);
        skips[i] = tensor_take(s, 1, side, side, c);
        tensor_give(s, &inner);
    }
    tensor_give(s, &x);
    for (size_t i = LEVELS * BLOCKS; i-- > 0;) {
        struct tensor joined =
            tensor_take(s, 1, skips[i].h, skips[i].w, 2 * skips[i].c);
        struct tensor inner = tensor_take(s, 1, skips[i].h, skips[i].w, skips[i].c);
        tensor_give(s, &joined);
        tensor_give(s, &skips[i]);
        tensor_give(s, &inner);
    }
}

static void the_arena_is_hardly_larger_than_what_lives(void **state)
{
    struct stream *stream = stream_new(gpu, DTYPE_F32, NULL);
    stream_plan(stream);
    forward(stream, NULL);
    assert_ok(stream_ready(stream, &error));
    size_t live = stream_live_bytes(stream), bytes = stream_arena_bytes(stream);
    assert_true(live > 0 && bytes >= live);
    if ((double)bytes > 1.15 * (double)live)
        fail_msg("%zu bytes for %zu that live", bytes, live);
    assert_int_equal(gpu_allocated(gpu), bytes);
    stream_destroy(&stream);
    assert_int_equal(gpu_allocated(gpu), 0);
}

struct sums {
    struct tensor x, y;
};

/* y = 8 x by additions whose operands come and go. */
static void add_up(struct stream *s, void *context)
{
    struct sums *sums = context;
    struct tensor two = tensor_take(s, 1, 1, 1, 1000);
    add(s, two, sums->x, sums->x);
    struct tensor four = tensor_take(s, 1, 1, 1, 1000);
    add(s, four, two, two);
    tensor_give(s, &two);
    struct tensor eight = tensor_take(s, 1, 1, 1, 1000);
    add(s, eight, four, four);
    tensor_give(s, &four);
    scale(s, sums->y, eight, 1);
    tensor_give(s, &eight);
}

static void a_plan_can_be_run_again_and_again(void **state)
{
    float *values = random_values(1000, DTYPE_F32, 1);
    double want[1000];
    struct sums sums = {.x = tensor_from(DTYPE_F32, 1, 1, 1, 1000, values),
                        .y = tensor_from(DTYPE_F32, 1, 1, 1, 1000, NULL)};
    struct stream *stream = stream_new(gpu, DTYPE_F32, NULL);
    stream_plan(stream);
    add_up(stream, &sums);
    assert_ok(stream_ready(stream, &error));
    size_t allocated = gpu_allocated(gpu);
    uint64_t launches = gpu_launches(gpu);
    for (size_t run = 0; run < 3; run++) {
        for (size_t i = 0; i < 1000; i++) {
            values[i] += 1;
            want[i] = 8 * (double)values[i];
        }
        assert_ok(tensor_upload(&sums.x, gpu, values, &error));
        stream_run(stream);
        add_up(stream, &sums);
        assert_ok(stream_end(stream, &error));
        assert_close(&sums.y, want);
    }
    assert_int_equal(gpu_allocated(gpu), allocated);
    assert_int_equal(gpu_launches(gpu) - launches, 3 * 4);
    stream_destroy(&stream);
    tensor_destroy(&sums.x, gpu);
    tensor_destroy(&sums.y, gpu);
    free(values);
}

static void the_first_error_of_a_pass_is_reported_at_its_end(void **state)
{
    struct error first = {.text = "first"}, second = {.text = "second"}, error = {0};
    struct stream *stream = stream_new(gpu, DTYPE_F32, NULL);
    stream_plan(stream);
    stream_fail(stream, &first);
    stream_fail(stream, &second);
    forward(stream, NULL);
    assert_false(stream_ready(stream, &error));
    assert_string_equal(error.text, "first");
    stream_plan(stream); /* and a new plan begins anew */
    forward(stream, NULL);
    assert_true(stream_ready(stream, &error));
    stream_destroy(&stream);
}

static void halves_on_the_host_round_to_even_and_keep_what_is_special(void **state)
{
    float values[] = {
        1,        -2.5F,      65504,        65519,          65520,    1e9F, 0x1p-24F,
        0x1p-25F, 0x1.8p-24F, 1 + 0x1p-11F, 1 + 0x1.8p-10F, 0x1p-14F, -0.0F};
    float halves[] = {1, -2.5F,    65504, 65504,       INFINITY, INFINITY, 0x1p-24F,
                      0, 0x1p-23F, 1,     1 + 0x1p-9F, 0x1p-14F, -0.0F};
    struct tensor tensor;
    enum { COUNT = sizeof values / sizeof *values };
    assert_ok(tensor_new(&tensor, gpu, DTYPE_F16, 1, 1, 1, COUNT, &error));
    assert_ok(tensor_upload(&tensor, gpu, values, &error));
    float *got = tensor_values(&tensor);
    assert_memory_equal(got, halves, sizeof halves);
    free(got);
    tensor_destroy(&tensor, gpu);
}

static void a_picture_survives_both_changes_of_layout(void **state)
{
    enum { N = 2, C = 3, H = 5, W = 7, COUNT = N * C * H * W };
    float *in = random_values(COUNT, DTYPE_F32, 1), there[COUNT], back[COUNT];
    nchw_to_nhwc(there, in, N, C, H, W);
    assert_true(there[((1 * H + 2) * W + 3) * C + 1] ==
                in[((1 * C + 1) * H + 2) * W + 3]);
    nhwc_to_nchw(back, there, N, C, H, W);
    assert_memory_equal(in, back, sizeof back);
    free(in);
}

static void host_weights_of_every_type_become_floats(void **state)
{
    static const uint16_t half[] = {0x3c00, 0xc100, 0x0001};
    static const uint16_t brain[] = {0x3f80, 0xc020, 0x4049};
    float values[2];
    struct host_tensor tensor = {HOST_F16, 1, {3}, half};
    host_tensor_floats(&tensor, 1, 2, values);
    assert_true(values[0] == -2.5F && values[1] == 0x1p-24F);
    tensor = (struct host_tensor){HOST_BF16, 1, {3}, brain};
    host_tensor_floats(&tensor, 1, 2, values);
    assert_true(values[0] == -2.5F && values[1] == 3.140625F);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_that_live_together_never_overlap),
        cmocka_unit_test(a_block_beyond_the_limit_is_a_memory_error),
        cmocka_unit_test(the_arena_is_hardly_larger_than_what_lives),
        cmocka_unit_test(a_plan_can_be_run_again_and_again),
        cmocka_unit_test(the_first_error_of_a_pass_is_reported_at_its_end),
        cmocka_unit_test(halves_on_the_host_round_to_even_and_keep_what_is_special),
        cmocka_unit_test(a_picture_survives_both_changes_of_layout),
        cmocka_unit_test(host_weights_of_every_type_become_floats),
    };
    return cmocka_run_group_tests(tests, open_cpu_path, close_gpu);
}
