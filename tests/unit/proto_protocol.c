#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "proto/farm.pb-c.h"
#include "tests/test.h"

static void protocol_md_names_every_message(void **state)
{
    struct buffer page = {0};
    assert_true(path_read(FARM_SOURCE_DIR "/proto/PROTOCOL.md", 1 << 20, &page, NULL));
    const ProtobufCMessageDescriptor *envelope = &farm__envelope__descriptor;
    for (unsigned i = 0; i < envelope->n_fields; i++) {
        if (envelope->fields[i].type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        const ProtobufCMessageDescriptor *body = envelope->fields[i].descriptor;
        char *named = path_format("`%s", body->short_name);
        if (!strstr(buffer_text(&page), named))
            fail_msg("PROTOCOL.md says nothing of %s", body->short_name);
        free(named);
    }
    buffer_clear(&page);
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '_';
}

/* Whether the page has `name` as a word of its own. */
static bool has_word(const char *page, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = page; (at = strstr(at, name)); at++)
        if ((at == page || !is_word(at[-1])) && !is_word(at[length]))
            return true;
    return false;
}

static void look_at(const char *page, const ProtobufCMessageDescriptor *message)
{
    if (!has_word(page, message->short_name))
        fail_msg("PROTOCOL.md says nothing of %s", message->short_name);
    for (unsigned i = 0; i < message->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->fields[i];
        if (!has_word(page, field->name))
            fail_msg("PROTOCOL.md says nothing of %s.%s", message->short_name,
                     field->name);
        if (field->type == PROTOBUF_C_TYPE_MESSAGE)
            look_at(page, field->descriptor);
    }
}

static void protocol_md_names_what_they_are_made_of(void **state)
{
    struct buffer page = {0};
    assert_true(path_read(FARM_SOURCE_DIR "/proto/PROTOCOL.md", 1 << 20, &page, NULL));
    const ProtobufCMessageDescriptor *envelope = &farm__envelope__descriptor;
    for (unsigned i = 0; i < envelope->n_fields; i++)
        if (envelope->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
            look_at(buffer_text(&page), envelope->fields[i].descriptor);
    buffer_clear(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(protocol_md_names_what_they_are_made_of),
        cmocka_unit_test(protocol_md_names_every_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
