#include "base/bug.h"

#include <execinfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

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
    log_raw(message, strlen(message));
    backtrace_symbols_fd(frames, backtrace(frames, ARRAY_COUNT(frames)), log_get_fd());
    abort();
}
