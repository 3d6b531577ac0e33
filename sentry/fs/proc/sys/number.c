#include "sentry/fs/proc/sys/number.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

int proc_parse_numbers(const char *text, int count, uint64_t *ret)
{
    for (int i = 0; i < count; i++) {
        char *end;

        while (isspace((unsigned char)*text))
            text++;
        if (!isdigit((unsigned char)*text))
            return -EINVAL;
        errno = 0;
        ret[i] = strtoull(text, &end, 0);
        if (errno || (*end && !isspace((unsigned char)*end)))
            return -EINVAL;
        text = end;
    }
    return 0;
}

int proc_write_number(uint64_t *place, const char *text, uint64_t min, uint64_t max)
{
    uint64_t value;
    int err = proc_parse_numbers(text, 1, &value);

    if (err < 0)
        return err;
    if (value < min || value > max)
        return -EINVAL;
    __atomic_store_n(place, value, __ATOMIC_RELAXED);
    return 0;
}

ssize_t proc_number_text(const uint64_t *place, char *buf, size_t size)
{
    return snprintf(buf, size, "%lu\n", __atomic_load_n(place, __ATOMIC_RELAXED));
}
