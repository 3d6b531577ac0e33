/* Walks a call along its row of the table: arguments in, results out, one line. */
#include "sentry/kernel/strace/strace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/log.h"
#include "sentry/kernel/strace/strace_types.h"
#include "sentry/kernel/syscall.h"
#include "sentry/mm/usercopy.h"

static int find_call(const struct syscall_table *table, const char *name, size_t size)
{
    for (uint32_t i = 0; i < table->count && i < STRACE_CALLS_MAX; i++) {
        const char *known = table->entries[i].name;

        if (known && strlen(known) == size && memcmp(known, name, size) == 0)
            return (int)i;
    }
    return -1;
}

int strace_filter_parse(const struct syscall_table *table, const char *names,
                        struct strace_filter *ret_filter, char ret_bad[32])
{
    struct strace_filter filter = {.on = true};
    bool all = !names || *names == 0;

    if (all)
        memset(filter.wanted, 0xff, sizeof(filter.wanted));
    while (!all && *names) {
        size_t size = strcspn(names, ",");
        int nr = find_call(table, names, size);

        if (nr < 0) {
            snprintf(ret_bad, 32, "%.*s", (int)MIN(size, (size_t)31), names);
            return -EINVAL;
        }
        filter.wanted[nr / 64] |= 1UL << (nr % 64);
        names += size + (names[size] == ',');
    }
    *ret_filter = filter;
    return 0;
}

/* How many elements the argument has; false when only the result could tell and there is none. */
static bool count_elements(struct strace_call *call, struct span count, const long *result,
                           uint64_t *ret_count)
{
    const char *spec = call->entry->args;
    int index;

    if (span_is(count, "ret")) {
        *ret_count = result ? (uint64_t)*result : 0;
        return result != NULL;
    }
    if (count.at[0] >= '0' && count.at[0] <= '9') {
        *ret_count = (uint64_t)(count.at[0] - '0');
        return true;
    }
    if (count.at[0] == '*') {
        uint32_t value = 0;

        index = spec_find(spec, (struct span){count.at + 1, count.size - 1});
        if (index >= 0 && call->mm &&
            copy_from_user_partial(call->mm, &value, call->args[index], 4) == 4)
            *ret_count = value;
        else
            *ret_count = 0;
        return true;
    }
    index = spec_find(spec, count);
    *ret_count = index >= 0 ? call->args[index] : 0;
    return true;
}

static void put_argument(struct strace_call *call, const struct spec_arg *arg, uint64_t value,
                         const long *result)
{
    bool counted = arg->count.size > 0;
    uint64_t count = 1;

    if (arg->dir == SPEC_SCALAR) {
        strace_put_scalar(call, arg->type, value);
    } else if ((arg->dir == SPEC_OUT && (!result || *result < 0)) ||
               (counted && !count_elements(call, arg->count, result, &count))) {
        /* The call did not fill it: only the address means something. */
        strace_put_scalar(call, (struct span){"ptr", 3}, value);
    } else {
        strace_put_pointer(call, arg->type, value, counted, count);
    }
}

/* The mode of open(2) means something only where a file may be made. */
static bool is_unused_mode(const struct strace_call *call, const char *spec,
                           const struct spec_arg *arg)
{
    int flags = spec_find(call->entry->args, (struct span){"flags", 5});
    struct spec_arg next;

    if (!span_is(arg->type, "mode") || flags < 0 || spec_next(spec, &next) ||
        !strstr(call->entry->args, "open_flags"))
        return false;
    return (call->args[flags] & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) == 0;
}

/* Prints entries from call->rest on; at entry of the call (no result) up to the first output. */
static void put_arguments(struct strace_call *call, const long *result)
{
    const char *next;
    struct spec_arg arg;
    size_t index = 0;

    for (const char *s = call->entry->args; s != call->rest && (s = spec_next(s, &arg));)
        index++;
    while (index < 6 && (next = spec_next(call->rest, &arg))) {
        if (!result && (arg.dir == SPEC_OUT || arg.dir == SPEC_INOUT))
            return;
        call->rest = next;
        if (is_unused_mode(call, next, &arg))
            continue;
        strace_printf(&call->line, index ? ", " : "");
        put_argument(call, &arg, call->args[index], result);
        index++;
    }
}

void strace_enter(struct strace_call *call, struct mm *mm, int tid, uint64_t nr,
                  const struct syscall_entry *entry, const uint64_t args[6])
{
    call->mm = mm;
    call->entry = entry && entry->name ? entry : NULL;
    call->nr = (uint32_t)nr;
    memcpy(call->args, args, sizeof(call->args));
    call->line.used = 0;
    if (!call->entry) {
        strace_printf(&call->line, "[%d] syscall_%#x(%#lx, %#lx, %#lx, %#lx, %#lx, %#lx", tid,
                      call->nr, args[0], args[1], args[2], args[3], args[4], args[5]);
        return;
    }
    strace_printf(&call->line, "[%d] %s(", tid, call->entry->name);
    call->rest = call->entry->args;
    put_arguments(call, NULL);
}

static void put_result(struct strace_call *call, long result)
{
    struct span kind = call->entry ? spec_result(call->entry->args) : (struct span){"", 0};
    const char *name;

    if (result == -ERESTARTSYS) {
        strace_printf(&call->line, "? ERESTARTSYS (To be restarted if SA_RESTART is set)");
    } else if (result == -ERESTARTNOINTR) {
        strace_printf(&call->line, "? ERESTARTNOINTR (To be restarted)");
    } else if (result == -ERESTARTNOHAND) {
        strace_printf(&call->line, "? ERESTARTNOHAND (To be restarted if no handler)");
    } else if (result == -ERESTART_RESTARTBLOCK) {
        strace_printf(&call->line, "? ERESTART_RESTARTBLOCK (Interrupted by signal)");
    } else if (result < 0 && result >= -4095) {
        name = strerrorname_np((int)-result);
        strace_printf(&call->line, "-1 %s (%s)", name ? name : "errno",
                      name ? strerrordesc_np((int)-result) : "unknown");
    } else if (kind.size == 0 || !strace_put_scalar(call, kind, (uint64_t)result)) {
        strace_printf(&call->line, "%ld", result);
    }
}

/* The end of the line must survive a cut: room is taken from the arguments. */
#define RESULT_ROOM 96

static void finish(struct strace_call *call)
{
    if (call->line.used > STRACE_LINE_MAX - RESULT_ROOM) {
        call->line.used = STRACE_LINE_MAX - RESULT_ROOM;
        strace_printf(&call->line, "...");
    }
    strace_printf(&call->line, ") = ");
}

void strace_leave(struct strace_call *call, struct mm *mm, long result)
{
    call->mm = mm;
    if (call->entry)
        put_arguments(call, &result);
    finish(call);
    put_result(call, result);
    log_raw(call->line.text, call->line.used);
}

void strace_leave_noreturn(struct strace_call *call, struct mm *mm)
{
    call->mm = mm;
    finish(call);
    strace_printf(&call->line, "?");
    log_raw(call->line.text, call->line.used);
}

void strace_signal(int tid, int signo, int si_code, uaddr_t addr)
{
    struct strace_buf line = {.used = 0};

    strace_printf(&line, "[%d] --- ", tid);
    strace_put_signal(&line, signo);
    strace_printf(&line, " {si_code=%d, si_addr=%#lx} ---", si_code, addr);
    log_raw(line.text, line.used);
}

void strace_exited(int tid, int status)
{
    struct strace_buf line = {.used = 0};

    if (WIFSIGNALED(status)) {
        strace_printf(&line, "[%d] +++ killed by ", tid);
        strace_put_signal(&line, WTERMSIG(status));
        strace_printf(&line, " +++");
    } else {
        strace_printf(&line, "[%d] +++ exited with %d +++", tid, WEXITSTATUS(status));
    }
    log_raw(line.text, line.used);
}
