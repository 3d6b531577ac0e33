/* Several contexts and threads at once. */
#include "tests/platform/harness.h"
const struct test thread_tests[] = {{NULL, NULL}};
