/* The "args" language of the table. The table is ours, so a malformed row is a bug, not an error:
 * tests/unit/strace_test.c reads every row. */
#include "sentry/kernel/strace/strace_spec.h"

#include <string.h>

bool span_is(struct span span, const char *word)
{
    return strlen(word) == span.size && memcmp(span.at, word, span.size) == 0;
}

static struct span trim(const char *from, const char *to)
{
    while (from < to && *from == ' ')
        from++;
    while (to > from && to[-1] == ' ')
        to--;
    return (struct span){from, (size_t)(to - from)};
}

/* Takes `word` and a blank off the front. */
static bool take_word(struct span *span, const char *word)
{
    size_t size = strlen(word);

    if (span->size <= size || memcmp(span->at, word, size) != 0 || span->at[size] != ' ')
        return false;
    *span = trim(span->at + size, span->at + span->size);
    return true;
}

const char *spec_next(const char *spec, struct spec_arg *ret_arg)
{
    const char *end = spec + strcspn(spec, ",");
    const char *arrow = strstr(spec, "->"), *colon, *open;
    struct span kind;

    if (arrow && arrow < end)
        end = arrow;
    kind = trim(spec, end);
    if (kind.size == 0)
        return NULL;

    colon = memchr(kind.at, ':', kind.size);
    *ret_arg = (struct spec_arg){.name = kind, .dir = SPEC_SCALAR, .type = kind};
    if (colon) {
        ret_arg->name = trim(kind.at, colon);
        ret_arg->type = trim(colon + 1, kind.at + kind.size);
    }
    if (take_word(&ret_arg->type, "in"))
        ret_arg->dir = SPEC_IN;
    else if (take_word(&ret_arg->type, "out"))
        ret_arg->dir = SPEC_OUT;
    else if (take_word(&ret_arg->type, "inout"))
        ret_arg->dir = SPEC_INOUT;

    open = memchr(ret_arg->type.at, '[', ret_arg->type.size);
    if (open) {
        ret_arg->count = trim(open + 1, ret_arg->type.at + ret_arg->type.size - 1);
        ret_arg->type = trim(ret_arg->type.at, open);
    }
    return *end == ',' ? end + 1 : end;
}

struct span spec_result(const char *spec)
{
    const char *arrow = strstr(spec, "->");

    return arrow ? trim(arrow + 2, spec + strlen(spec)) : (struct span){"", 0};
}

int spec_find(const char *spec, struct span name)
{
    struct spec_arg arg;

    for (int i = 0; (spec = spec_next(spec, &arg)); i++) {
        if (arg.name.size == name.size && memcmp(arg.name.at, name.at, name.size) == 0)
            return i;
    }
    return -1;
}
