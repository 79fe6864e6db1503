/* cmocka and the headers it needs before it. */
#ifndef FARM_TEST_H
#define FARM_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
