/*
 * The names of flags and enumerations, for strace. Data only: a set is found by the word that the
 * table's rows use for it.
 */
#ifndef SENTRY_KERNEL_STRACE_NAMES_H
#define SENTRY_KERNEL_STRACE_NAMES_H

#include "base/compiler.h"
#include "sentry/kernel/strace/strace_spec.h"

/*
 * A value has this name when (value & mask) == bits. A flag has mask == bits; a field of several
 * bits (O_ACCMODE) has one entry per value; an enumeration has entries with all bits in the mask.
 */
struct value_name {
    uint32_t mask;
    uint32_t bits;
    const char *name;
};

struct name_set {
    const char *word;
    const struct value_name *names;
    size_t count;
};

/* NULL when there is no set of that name. */
const struct name_set *name_set_find(struct span word);

#endif
