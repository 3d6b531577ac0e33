/*
 * Defaults for a build with AddressSanitizer and UndefinedBehaviorSanitizer, which the tests run:
 * what they do at the end of threads and of the process (signal stacks, a leak check that traces
 * us) are host calls that the jail kills.
 */
#include "base/compiler.h"

#define EXPORTED __attribute__((visibility("default")))

EXPORTED const char *__asan_default_options(void);
EXPORTED const char *__ubsan_default_options(void);

const char *__asan_default_options(void)
{
    return "detect_leaks=0:use_sigaltstack=0";
}

const char *__ubsan_default_options(void)
{
    return "use_sigaltstack=0:print_stacktrace=1:halt_on_error=1";
}
