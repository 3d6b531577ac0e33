/*
 * The operator's log: leveled lines, one write each, to stderr or to the file of --log. Lines from
 * the guest's data are escaped by their callers. Safe from any thread.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/compiler.h"

/* Names of their own: <syslog.h> has LOG_WARNING and its like with other numbers. */
enum log_level { LEVEL_ERROR, LEVEL_WARNING, LEVEL_INFO, LEVEL_DEBUG };

/* Lines above `level` are dropped; `fd` stays the caller's and must outlive all logging. */
void log_setup(int fd, enum log_level level);
/* Where lines go now. */
int log_get_fd(void);
bool log_enabled(enum log_level level);
void log_line(enum log_level level, const char *fmt, ...) __printf(2, 3);
/* Writes a prepared line (a newline is added) whatever the level: strace output. */
void log_raw(const char *line, size_t size);
/* "error", "warning", "info", "debug" to a level; -EINVAL for any other word. */
int log_level_parse(const char *word, enum log_level *ret_level);

#define log_error(...)   log_line(LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_line(LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                                                             \
    do {                                                                                           \
        if (unlikely(log_enabled(LEVEL_DEBUG)))                                                    \
            log_line(LEVEL_DEBUG, __VA_ARGS__);                                                    \
    } while (0)

#endif
