#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "proto/files/picture.h"
#include "tests/test.h"

static struct picture make(size_t width, size_t height)
{
    struct picture picture = {width, height, malloc(width * height * 3)};
    for (size_t i = 0; i < width * height * 3; i++)
        picture.rgb[i] = (uint8_t)(i * 7 + i / 5);
    return picture;
}

static void pixels_and_texts_come_back(void **state)
{
    struct picture picture = make(37, 5), back;
    struct buffer file = {0}, text = {0};
    const struct picture_text texts[] = {{"parameters", "caf\xc3\xa9, line\ntwo"},
                                         {"other", "猫"}};
    assert_true(picture_write_png(&picture, texts, 2, &file, NULL));
    assert_true(picture_read_png(file.data, file.size, &back, NULL));
    assert_int_equal(back.width, 37);
    assert_int_equal(back.height, 5);
    assert_memory_equal(back.rgb, picture.rgb, 37 * 5 * 3);
    assert_true(picture_read_text(file.data, file.size, "parameters", &text, NULL));
    assert_string_equal(buffer_text(&text), texts[0].text);
    text.size = 0;
    assert_true(picture_read_text(file.data, file.size, "other", &text, NULL));
    assert_string_equal(buffer_text(&text), "猫");
    assert_non_null(memmem(file.data, file.size, "tEXtparameters", 14));
    assert_non_null(memmem(file.data, file.size, "iTXtother", 9));
    struct error error = {0};
    assert_false(picture_read_text(file.data, file.size, "none", &text, &error));
    assert_int_equal(error.kind, ERROR_NOT_FOUND);
    picture_clear(&picture);
    picture_clear(&back);
    buffer_clear(&file);
    buffer_clear(&text);
}

static void equal_pictures_are_equal_files_and_pngcheck_finds_nothing(void **state)
{
    struct picture picture = make(64, 64);
    struct buffer first = {0}, second = {0};
    const struct picture_text text = {"parameters", "猫\nSteps: 1"};
    assert_true(picture_write_png(&picture, &text, 1, &first, NULL));
    assert_true(picture_write_png(&picture, &text, 1, &second, NULL));
    assert_int_equal(first.size, second.size);
    assert_memory_equal(first.data, second.data, first.size);
    char path[] = "/tmp/farm-picture-XXXXXX";
    assert_true(mkstemp(path) >= 0);
    assert_true(path_write(path, first.data, first.size, 0600, NULL));
    char *command = path_format("pngcheck -q '%s' >/dev/null", path);
    assert_int_equal(system(command), 0);
    free(command);
    remove(path);
    picture_clear(&picture);
    buffer_clear(&first);
    buffer_clear(&second);
}

/* A 1x1 PNG of the given type, by libpng itself; bytes hold one pixel. */
static struct buffer one_pixel(int type, int depth, int interlace, const uint8_t *bytes)
{
    static struct buffer file;
    file = (struct buffer){0};
    char path[] = "/tmp/farm-pixel-XXXXXX";
    assert_true(mkstemp(path) >= 0);
    FILE *stream = fopen(path, "wb");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_init_io(png, stream);
    png_set_IHDR(png, info, 1, 1, depth, type, interlace, 0, 0);
    if (type == PNG_COLOR_TYPE_PALETTE) {
        const png_color colors[2] = {{1, 2, 3}, {200, 100, 50}};
        png_set_PLTE(png, info, colors, 2);
    }
    png_write_info(png, info);
    for (int passes = png_set_interlace_handling(png); passes; passes--)
        png_write_row(png, bytes);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    fclose(stream);
    assert_true(path_read(path, 1 << 20, &file, NULL));
    remove(path);
    return file;
}

static void every_colour_type_is_read_and_alpha_lies_over_white(void **state)
{
    static const struct {
        int type, depth, interlace;
        uint8_t bytes[8], rgb[3];
    } kinds[] = {
        {PNG_COLOR_TYPE_GRAY, 8, 0, {77}, {77, 77, 77}},
        {PNG_COLOR_TYPE_GRAY, 1, 0, {0x80}, {255, 255, 255}},
        {PNG_COLOR_TYPE_GRAY, 16, 1, {0x80, 0x00}, {128, 128, 128}},
        {PNG_COLOR_TYPE_PALETTE, 8, 0, {1}, {200, 100, 50}},
        {PNG_COLOR_TYPE_PALETTE, 2, 1, {0x40}, {200, 100, 50}},
        {PNG_COLOR_TYPE_RGB, 8, 0, {9, 8, 7}, {9, 8, 7}},
        {PNG_COLOR_TYPE_RGB, 16, 0, {9, 9, 8, 8, 7, 7}, {9, 8, 7}},
        {PNG_COLOR_TYPE_GRAY_ALPHA, 8, 0, {10, 0}, {255, 255, 255}},
        {PNG_COLOR_TYPE_RGB_ALPHA, 8, 1, {255, 0, 100, 128}, {255, 127, 177}},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct buffer file = one_pixel(kinds[i].type, kinds[i].depth,
                                       kinds[i].interlace, kinds[i].bytes);
        struct picture picture;
        assert_true(picture_read_png(file.data, file.size, &picture, NULL));
        assert_memory_equal(picture.rgb, kinds[i].rgb, 3);
        picture_clear(&picture);
        buffer_clear(&file);
    }
}

static void a_file_cut_or_changed_anywhere_is_refused_and_leaks_nothing(void **state)
{
    struct picture picture = make(9, 9), back;
    struct buffer file = {0}, text = {0};
    const struct picture_text texts = {"parameters", "x"};
    assert_true(picture_write_png(&picture, &texts, 1, &file, NULL));
    for (size_t cut = 0; cut < file.size; cut++) {
        struct error error = {0};
        assert_false(picture_read_png(file.data, cut, &back, &error));
        assert_int_equal(error.kind, ERROR_INPUT);
        assert_int_equal(strncmp(error.text, "PNG: ", 5), 0);
    }
    for (size_t at = 0; at < file.size; at++) {
        file.data[at] ^= 0x10;
        assert_false(picture_read_png(file.data, file.size, &back, NULL));
        assert_false(
            picture_read_text(file.data, file.size, "parameters", &text, NULL));
        file.data[at] ^= 0x10;
    }
    picture_clear(&picture);
    buffer_clear(&file);
    buffer_clear(&text);
}

static void pictures_above_64_mpixel_are_refused_before_memory_is_taken(void **state)
{
    struct error error = {0};
    struct buffer file = {0};
    struct picture huge = {8193, 8192, NULL};
    assert_false(picture_write_png(&huge, NULL, 0, &file, &error));
    assert_string_equal(error.text,
                        "PNG: 8193x8192 pixels, at most 64 Mpixel are taken");
    struct picture small = make(1, 1), back;
    assert_true(picture_write_png(&small, NULL, 0, &file, NULL));
    static const uint8_t header[] = {'I', 'H',  'D', 'R', 0, 0, 0x20, 1, 0,
                                     0,   0x20, 0,   8,   2, 0, 0,    0};
    memcpy(file.data + 12, header, sizeof header);
    png_byte crc[4];
    uint32_t sum = 0xffffffff;
    for (size_t i = 0; i < sizeof header; i++) {
        sum ^= header[i];
        for (int bit = 0; bit < 8; bit++)
            sum = sum >> 1 ^ (sum & 1 ? 0xedb88320 : 0);
    }
    png_save_uint_32(crc, ~sum);
    memcpy(file.data + 29, crc, 4);
    assert_false(picture_read_png(file.data, file.size, &back, &error));
    assert_string_equal(error.text,
                        "PNG: 8193x8192 pixels, at most 64 Mpixel are taken");
    picture_clear(&small);
    buffer_clear(&file);
}

/* A golden picture file and the pixels Pillow sees in it, value by value. */
static void check_file(const char *name)
{
    char *path = path_format(FARM_GOLDEN_DIR "/pictures/%s", name);
    char *pixels = path_format("%s.rgb", path);
    struct buffer file = {0}, want = {0};
    struct picture picture;
    struct error error = {0};
    assert_true(path_read(path, 1 << 20, &file, NULL));
    assert_true(path_read(pixels, 1 << 20, &want, NULL));
    if (!picture_read(file.data, file.size, &picture, &error))
        fail_msg("%s: %s", name, error.text);
    assert_int_equal(picture.width, want.data[0] + 256 * want.data[1]);
    assert_int_equal(picture.height, want.data[2] + 256 * want.data[3]);
    assert_int_equal(want.size, 4 + picture.width * picture.height * 3);
    for (size_t i = 0; i < picture.width * picture.height * 3; i++)
        if (picture.rgb[i] != want.data[4 + i])
            fail_msg("%s: value %zu is %d, Pillow sees %d", name, i, picture.rgb[i],
                     want.data[4 + i]);
    /* Cut short it is refused, wherever that is. */
    for (size_t size = 0; size + 2 < file.size; size += file.size / 7) {
        struct picture none;
        assert_false(picture_read(file.data, size, &none, &error));
        assert_true(error.kind == ERROR_INPUT);
    }
    picture_clear(&picture);
    buffer_clear(&file);
    buffer_clear(&want);
    free(pixels);
    free(path);
}

static void every_colour_type_is_seen_as_pillow_sees_it(void **state)
{
    static const char *const names[] = {"rgb.png",        "rgba.png",    "grey.png",
                                        "grey_alpha.png", "palette.png", "bits1.png",
                                        "wide.png",       "rgb.jpg",     "grey.jpg",
                                        "half.jpg",       "steps.jpg",   "inks.jpg"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check_file(names[i]);
}

static void pictures_are_turned_as_their_exif_says(void **state)
{
    static const char *const names[] = {"turn1.jpg", "turn2.jpg", "turn3.jpg",
                                        "turn4.jpg", "turn5.jpg", "turn6.jpg",
                                        "turn7.jpg", "turn8.jpg", "turn6.png"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check_file(names[i]);
}

static void what_is_no_picture_is_refused(void **state)
{
    static const uint8_t gif[] = "GIF89a and more", jpeg[] = {0xff, 0xd8, 0xff, 0xd9};
    struct picture picture;
    struct error error = {0};
    assert_false(picture_read(gif, sizeof gif, &picture, &error));
    assert_non_null(strstr(error.text, "neither a PNG nor a JPEG"));
    assert_false(picture_read(jpeg, sizeof jpeg, &picture, &error));
    assert_non_null(strstr(error.text, "JPEG: "));
    assert_false(picture_read("", 0, &picture, &error));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_colour_type_is_seen_as_pillow_sees_it),
        cmocka_unit_test(pictures_are_turned_as_their_exif_says),
        cmocka_unit_test(what_is_no_picture_is_refused),
        cmocka_unit_test(pixels_and_texts_come_back),
        cmocka_unit_test(equal_pictures_are_equal_files_and_pngcheck_finds_nothing),
        cmocka_unit_test(every_colour_type_is_read_and_alpha_lies_over_white),
        cmocka_unit_test(a_file_cut_or_changed_anywhere_is_refused_and_leaks_nothing),
        cmocka_unit_test(pictures_above_64_mpixel_are_refused_before_memory_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
