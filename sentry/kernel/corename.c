/* The name of a core file: what /proc/sys/kernel/core_pattern makes of it, core(5). */
#include <stdio.h>
#include <string.h>

#include "sentry/kernel/core.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ns/ns.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/time/time.h"

uint32_t core_uses_pid;
static struct lock pattern_lock = LOCK_INIT;
static char pattern[CORE_PATTERN_SIZE] = "core";

void core_get_pattern(char ret[CORE_PATTERN_SIZE])
{
    lock_acquire(&pattern_lock);
    memcpy(ret, pattern, sizeof(pattern));
    lock_release(&pattern_lock);
}

void core_set_pattern(const char *text)
{
    size_t length = MIN(strcspn(text, "\n"), sizeof(pattern) - 1);

    lock_acquire(&pattern_lock);
    memset(pattern, 0, sizeof(pattern));
    memcpy(pattern, text, length);
    lock_release(&pattern_lock);
}

static void append(struct core_name *name, const char *text)
{
    for (; *text && name->size + 1 < sizeof(name->text); text++)
        name->text[name->size++] = *text;
    name->text[name->size] = '\0';
}

static void append_number(struct core_name *name, long value)
{
    char digits[24];

    snprintf(digits, sizeof(digits), "%ld", value);
    append(name, digits);
}

/* No name of ours makes a path of it. */
static void append_word(struct core_name *name, const char *word, size_t size)
{
    for (size_t i = 0; i < size && word[i]; i++) {
        const char one[2] = {word[i] == '/' ? '!' : word[i], '\0'};

        append(name, one);
    }
}

static void append_field(struct core_name *name, const struct core *core, char field)
{
    struct task *task = core->task;

    switch (field) {
    case '%':
        append(name, "%");
        break;
    case 'p':
        append_number(name, task->process->vpid);
        break;
    case 'P':
        append_number(name, task->process->pid);
        break;
    case 'i':
        append_number(name, task->vtid);
        break;
    case 'I':
        append_number(name, task->tid);
        break;
    case 'u':
        append_number(name, task->cred->uid);
        break;
    case 'g':
        append_number(name, task->cred->gid);
        break;
    case 's':
        append_number(name, core->info->si_signo);
        break;
    case 't':
        append_number(name, (long)(time_realtime_ns() / 1000000000UL));
        break;
    case 'h':
        append_word(name, task_uts(task)->hostname, UTS_NAME_SIZE);
        break;
    case 'e':
        append_word(name, task->comm, sizeof(task->comm));
        break;
    default: /* it stands for nothing */
        break;
    }
}

bool core_make_name(const struct core *core, struct core_name *ret)
{
    char text[CORE_PATTERN_SIZE];
    bool has_pid = false;

    core_get_pattern(text);
    ret->size = 0;
    ret->text[0] = '\0';
    if (text[0] == '|')
        return false;
    for (const char *at = text; *at; at++) {
        const char one[2] = {*at, '\0'};

        if (*at != '%') {
            append(ret, one);
            continue;
        }
        if (!*++at)
            break;
        has_pid |= *at == 'p';
        append_field(ret, core, *at);
    }
    if (!has_pid && __atomic_load_n(&core_uses_pid, __ATOMIC_RELAXED)) {
        append(ret, ".");
        append_number(ret, core->task->process->vpid);
    }
    return ret->size > 0;
}
