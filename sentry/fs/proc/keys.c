/* /proc/keys, /proc/key-users: what the caller may see of the keys there are. */
#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/keys/key.h"

#define LINE_MAX_SIZE (KEY_DESCRIPTION_MAX + 128)

ssize_t proc_keys_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    char line[LINE_MAX_SIZE];

    for (int64_t at = 0; (at = key_list(task_current(), at, line, sizeof(line))) >= 0; at++)
        proc_printf(&text, "%s", line);
    return (ssize_t)text.length;
}

ssize_t proc_key_users_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    char line[LINE_MAX_SIZE];

    for (int64_t at = 0; (at = key_list_users(at, line, sizeof(line))) >= 0; at++)
        proc_printf(&text, "%s", line);
    return (ssize_t)text.length;
}
