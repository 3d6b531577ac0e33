#include "base/bug.h"

#include <execinfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unwind.h>

#include "base/log.h"

struct trace {
    void *frames[32];
    int count;
};

static _Unwind_Reason_Code add_frame(struct _Unwind_Context *context, void *arg)
{
    struct trace *t = arg;

    if (t->count == (int)ARRAY_COUNT(t->frames))
        return _URC_END_OF_STACK;
    t->frames[t->count++] = (void *)_Unwind_GetIP(context);
    return _URC_NO_REASON;
}

void bug(const char *file, int line, const char *fmt, ...)
{
    char message[512];
    struct trace trace = {.count = 0};
    va_list ap;
    int n;

    n = snprintf(message, sizeof(message), "kvmsentry: BUG at %s:%d: ", file, line);
    va_start(ap, fmt);
    vsnprintf(message + n, sizeof(message) - (size_t)n, fmt, ap);
    va_end(ap);
    log_raw(message, strlen(message));
    /* Not backtrace(3): it loads a library, and the jail has no open. */
    _Unwind_Backtrace(add_frame, &trace);
    backtrace_symbols_fd(trace.frames, trace.count, log_get_fd());
    abort();
}
