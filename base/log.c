#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int log_fd = STDERR_FILENO;
static enum log_level log_max = LEVEL_WARNING;
static const char *const level_names[] = {"error", "warning", "info", "debug"};

void log_setup(int fd, enum log_level level)
{
    log_fd = fd;
    log_max = level;
}

int log_get_fd(void)
{
    return log_fd;
}

bool log_enabled(enum log_level level)
{
    return level <= log_max;
}

void log_raw(const char *line, size_t size)
{
    struct iovec iov[2] = {{(void *)line, size}, {(void *)"\n", 1}};

    /* A full or closed log must not stop the sandbox: the line is lost. */
    if (writev(log_fd, iov, 2) < 0)
        return;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    char line[1024];
    va_list ap;
    int prefix, body;

    if (level > log_max)
        return;
    if (level == LEVEL_ERROR)
        prefix = snprintf(line, sizeof(line), "kvmsentry: ");
    else
        prefix = snprintf(line, sizeof(line), "kvmsentry: %s: ", level_names[level]);
    va_start(ap, fmt);
    body = vsnprintf(line + prefix, sizeof(line) - (size_t)prefix, fmt, ap);
    va_end(ap);
    log_raw(line, MIN((size_t)(prefix + MAX(body, 0)), sizeof(line) - 1));
}

int log_level_parse(const char *word, enum log_level *ret_level)
{
    for (size_t i = 0; i < ARRAY_COUNT(level_names); i++) {
        if (strcmp(word, level_names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}
