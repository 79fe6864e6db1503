/* Any bytes as a key file, and as a member's farm file: what is taken is written the same. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "proto/keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char path[] = "/dev/shm/farm-fuzz-XXXXXX";
    struct keypair first, second;
    struct error error = {0};
    if (path[sizeof path - 2] == 'X')
        close(mkstemp(path));
    if (!path_write(path, data, size, 0600, &error))
        abort();
    if (!keypair_load(&first, path, &error)) {
        if (!*error.text)
            abort();
        return 0;
    }
    unlink(path);
    if (!keypair_save(&first, path, &error) || !keypair_load(&second, path, &error) ||
        memcmp(&first, &second, sizeof first) != 0)
        abort();
    return 0;
}
