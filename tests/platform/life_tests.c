#include "tests/platform/harness.h"
const struct test life_tests[] = {{NULL, NULL}};
