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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(protocol_md_names_every_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
