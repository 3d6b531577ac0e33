/*
 * The line buffer and the scalars: what a register holds by itself, and strings, which every kind
 * of argument may lead to.
 */
#include "sentry/kernel/strace/strace_types.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "sentry/kernel/strace/strace_names.h"
#include "sentry/mm/usercopy.h"

#define LAST_PLAIN_SIGNAL 31

void strace_printf(struct strace_buf *buf, const char *fmt, ...)
{
    size_t left = sizeof(buf->text) - buf->used;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(buf->text + buf->used, left, fmt, ap);
    va_end(ap);
    if (n > 0)
        buf->used += MIN((size_t)n, left - 1);
}

void strace_put_bytes(struct strace_buf *buf, const void *bytes, size_t size, bool cut)
{
    static const char plain[] = "\a\b\t\n\v\f\r\"\\", letter[] = "abtnvfr\"\\";
    const unsigned char *p = bytes;

    strace_printf(buf, "\"");
    for (size_t i = 0; i < size; i++) {
        const char *found = p[i] ? strchr(plain, p[i]) : NULL;

        if (found)
            strace_printf(buf, "\\%c", letter[found - plain]);
        else if (p[i] >= ' ' && p[i] < 0x7f)
            strace_printf(buf, "%c", p[i]);
        else if (i + 1 < size && p[i + 1] >= '0' && p[i + 1] <= '7')
            strace_printf(buf, "\\%03o", p[i]);
        else
            strace_printf(buf, "\\%o", p[i]);
    }
    strace_printf(buf, cut ? "\"..." : "\"");
}

void strace_put_names(struct strace_buf *buf, const char *word, uint64_t value)
{
    const struct name_set *set = name_set_find((struct span){word, strlen(word)});
    uint32_t rest = (uint32_t)value, seen = 0;
    const char *bar = "";

    for (size_t i = 0; set && i < set->count; i++) {
        const struct value_name *n = &set->names[i];

        if (((uint32_t)value & n->mask) != n->bits || (seen & n->mask) != 0)
            continue;
        strace_printf(buf, "%s%s", bar, n->name);
        bar = "|";
        rest &= ~n->mask;
        seen |= n->mask;
    }
    if (rest != 0 || *bar == 0)
        strace_printf(buf, rest ? "%s%#x" : "%s%u", bar, rest);
}

void strace_put_signal(struct strace_buf *buf, int signo)
{
    const char *name = signo > 0 && signo <= LAST_PLAIN_SIGNAL ? sigabbrev_np(signo) : NULL;

    if (name)
        strace_printf(buf, "SIG%s", name);
    else if (signo > LAST_PLAIN_SIGNAL && signo <= 64)
        strace_printf(buf, "SIGRT_%d", signo - LAST_PLAIN_SIGNAL - 1);
    else
        strace_printf(buf, "%d", signo);
}

void strace_put_address(struct strace_buf *buf, uaddr_t addr)
{
    if (addr == 0)
        strace_printf(buf, "NULL");
    else
        strace_printf(buf, "%#lx", addr);
}

void strace_put_string(struct strace_call *call, uaddr_t addr, size_t show)
{
    char text[256];
    size_t got, size;

    show = MIN(show, sizeof(text) - 1);
    got = addr && call->mm ? copy_from_user_partial(call->mm, text, addr, show + 1) : 0;
    size = strnlen(text, got);
    /* Without its NUL in sight the string is whole only if it is longer than what is shown. */
    if (got == 0 || (size == got && got <= show))
        strace_put_address(&call->line, addr);
    else
        strace_put_bytes(&call->line, text, MIN(size, show), size > show);
}

static void put_futex_timeout(struct strace_call *call, uint64_t value)
{
    static const char waits[] = {0, 6, 9, 11, 13}; /* WAIT, LOCK_PI, WAIT_BITSET and kin */

    if (memchr(waits, (int)(call->args[1] & 0x7f), sizeof(waits)))
        strace_put_pointer(call, (struct span){"timespec", 8}, value, false, 0);
    else
        strace_printf(&call->line, "%u", (uint32_t)value);
}

bool strace_put_scalar(struct strace_call *call, struct span kind, uint64_t value)
{
    struct strace_buf *buf = &call->line;
    const struct name_set *set = name_set_find(kind);

    if (set)
        strace_put_names(buf, set->word, value);
    else if (span_is(kind, "int") || span_is(kind, "fd") || span_is(kind, "pid") ||
             span_is(kind, "uid") || span_is(kind, "gid"))
        strace_printf(buf, "%d", (int)value);
    else if (span_is(kind, "uint"))
        strace_printf(buf, "%u", (uint32_t)value);
    else if (span_is(kind, "ulong") || span_is(kind, "size"))
        strace_printf(buf, "%lu", value);
    else if (span_is(kind, "long") || span_is(kind, "off"))
        strace_printf(buf, "%ld", (long)value);
    else if (span_is(kind, "hex"))
        strace_printf(buf, value ? "%#lx" : "%lu", value);
    else if (span_is(kind, "ptr"))
        strace_put_address(buf, value);
    else if (span_is(kind, "mode") || span_is(kind, "octal"))
        strace_printf(buf, "%#03o", (uint32_t)value);
    else if (span_is(kind, "dev"))
        strace_printf(buf, "makedev(%u, %u)", major(value), minor(value));
    else if (span_is(kind, "sig"))
        strace_put_signal(buf, (int)value);
    else if (span_is(kind, "dirfd"))
        strace_printf(buf, (int)value == -100 ? "AT_FDCWD" : "%d", (int)value);
    else if (span_is(kind, "path"))
        strace_put_string(call, value, SIZE_MAX);
    else if (span_is(kind, "str"))
        strace_put_string(call, value, STRACE_STRING_MAX);
    else if (span_is(kind, "futex_timeout"))
        put_futex_timeout(call, value);
    else
        return false;
    return true;
}
