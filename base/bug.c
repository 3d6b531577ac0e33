#include "base/bug.h"

#include <execinfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void bug(const char *file, int line, const char *fmt, ...)
{
    char message[512];
    void *frames[32];
    va_list ap;
    int n;

    n = snprintf(message, sizeof(message), "kvmsentry: BUG at %s:%d: ", file, line);
    va_start(ap, fmt);
    vsnprintf(message + n, sizeof(message) - (size_t)n, fmt, ap);
    va_end(ap);
    dprintf(STDERR_FILENO, "%s\n", message);
    backtrace_symbols_fd(frames, backtrace(frames, ARRAY_COUNT(frames)), STDERR_FILENO);
    abort();
}
