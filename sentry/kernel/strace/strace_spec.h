/*
 * A reader of the "args" language (grammar at the head of sentry/syscalls/syscalls.def). Splits one
 * entry after the other off the string; allocates nothing.
 */
#ifndef SENTRY_KERNEL_STRACE_SPEC_H
#define SENTRY_KERNEL_STRACE_SPEC_H

#include "base/compiler.h"

enum spec_dir { SPEC_SCALAR, SPEC_IN, SPEC_OUT, SPEC_INOUT };

/* A piece of the table's string. */
struct span {
    const char *at;
    size_t size;
};

struct spec_arg {
    struct span name;
    enum spec_dir dir;
    struct span type;
    struct span count; /* empty: one element */
};

bool span_is(struct span span, const char *word);
/* Reads one entry of `spec`; returns what follows it, NULL when there was none left. */
const char *spec_next(const char *spec, struct spec_arg *ret_arg);
/* The scalar kind behind "->", empty for a plain number. */
struct span spec_result(const char *spec);
/* The position of the argument that is called so; -1 if there is none. */
int spec_find(const char *spec, struct span name);

#endif
