/* The canonical text of a task: what it says decides the pixels, and nothing else does.
 * Options that are KEY_UNLESS_DEFAULT have no line where they are not set.
 *
 *   cfg=0x1.cp+2\n clip-skip=1\n ... steps=20\n engine=1\n
 *
 * and for a salted key "salt=" with the salt in hexadecimal at the end.
 * Backslashes and newlines of texts are escaped, so that no text can pose as a line.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/job/job.h"

static void add(crypto_generichash_state *hash, const char *text, size_t size)
{
    crypto_generichash_update(hash, (const unsigned char *)text, size);
}

static void add_escaped(crypto_generichash_state *hash, const char *text)
{
    while (*text) {
        size_t plain = strcspn(text, "\\\n");
        add(hash, text, plain);
        text += plain;
        if (*text)
            add(hash, *text++ == '\n' ? "\\n" : "\\\\", 2);
    }
}

static bool is_in_key(const struct task *self, const struct option *option)
{
    if (option->key != KEY_UNLESS_DEFAULT)
        return option->key == KEY_ALWAYS;
    char *value = task_get(self, option);
    bool differs = strcmp(value, option->fallback) != 0;
    free(value);
    return differs;
}

void task_key(const struct task *self, const uint8_t salt[16], uint8_t key[32])
{
    crypto_generichash_state text;
    crypto_generichash_init(&text, NULL, 0, 32);
    for (const struct option *option = options; option->name; option++) {
        if (!is_in_key(self, option))
            continue;
        add(&text, option->name, strlen(option->name));
        add(&text, "=", 1);
        if (option->type == OPTION_NUMBER) {
            char number[64];
            double value;
            memcpy(&value, (const char *)self + option->offset, sizeof value);
            int size = snprintf(number, sizeof number, "%a", value);
            add(&text, number, (size_t)size);
        } else {
            char *value = task_get(self, option);
            add_escaped(&text, value);
            free(value);
        }
        add(&text, "\n", 1);
    }
    char engine[32];
    int size = snprintf(engine, sizeof engine, "engine=%d\n", ENGINE_NUMERICS);
    add(&text, engine, (size_t)size);
    if (salt) {
        char hex[33];
        add(&text, "salt=", 5);
        add(&text, sodium_bin2hex(hex, sizeof hex, salt, 16), 32);
        add(&text, "\n", 1);
    }
    crypto_generichash_final(&text, key, 32);
}
