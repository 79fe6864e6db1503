/* A folder of the test program's own: fixtures make it and remove it with all in it. */
#ifndef FARM_TEST_FOLDER_H
#define FARM_TEST_FOLDER_H

#include <stdlib.h>

#include "base/path.h"
#include "tests/test.h"

static char *folder;

static inline int make_folder(void **state)
{
    folder = path_format("/tmp/farm-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_folder(void **state)
{
    path_remove_tree(folder);
    free(folder);
    return 0;
}

#endif
