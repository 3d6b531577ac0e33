/*
 * Broken invariants of ours. Never reached by anything the guest does: guests get errnos and
 * signals. BUG() prints the message and a backtrace and takes the whole sandbox down.
 */
#ifndef BASE_BUG_H
#define BASE_BUG_H

#include "base/compiler.h"

__noreturn void bug(const char *file, int line, const char *fmt, ...) __printf(3, 4);

#define BUG(...) bug(__FILE__, __LINE__, __VA_ARGS__)
#define BUG_ON(cond)                                                                               \
    do {                                                                                           \
        if (unlikely(cond))                                                                        \
            BUG("%s", #cond);                                                                      \
    } while (0)

#endif
