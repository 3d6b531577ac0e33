/* Keys: add_key(2), request_key(2), keyctl(2). Here arguments are fetched; kernel/key.h does it. */
#include <errno.h>
#include <limits.h>
#include <linux/keyctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "sentry/kernel/keys/key.h"
#include "sentry/kernel/task.h"
#include "sentry/mm/usercopy.h"
#include "sentry/syscalls/define.h"

#define ERRNO_MAX 4095

/* A string of at most `size` bytes with its NUL, allocated. -EFAULT, -EINVAL, -ENOMEM. */
static int get_string(struct task *task, uaddr_t ptr, size_t size, char **ret)
{
    char *text = malloc(size);
    ssize_t n;

    if (!text)
        return -ENOMEM;
    n = strncpy_from_user(task->mm, text, ptr, size);
    if (n < 0) {
        free(text);
        return n == -ENAMETOOLONG ? -EINVAL : (int)n;
    }
    *ret = text;
    return 0;
}

/* key_get_type_from_user() */
static int get_type(struct task *task, uaddr_t ptr, char ret[KEY_TYPE_MAX])
{
    ssize_t n = strncpy_from_user(task->mm, ret, ptr, KEY_TYPE_MAX);

    if (n == 0 || n == -ENAMETOOLONG)
        return -EINVAL;
    if (n < 0)
        return (int)n;
    return ret[0] == '.' ? -EPERM : 0;
}

static int get_payload(struct task *task, uaddr_t ptr, size_t size, void **ret_data)
{
    void *data = NULL;

    if (size > 0) {
        data = malloc(size);
        if (!data)
            return -ENOMEM;
        if (copy_from_user(task->mm, data, ptr, size) < 0) {
            free(data);
            return -EFAULT;
        }
    }
    *ret_data = data;
    return 0;
}

static void free_payload(void *data, size_t size)
{
    if (data)
        explicit_bzero(data, size);
    free(data);
}

SYSCALL_DEFINE5(add_key, uaddr_t, type_ptr, uaddr_t, description_ptr, uaddr_t, payload_ptr, size_t,
                size, int, keyring)
{
    struct key_request request = {.keyring = keyring, .payload = {.size = size}};
    char type[KEY_TYPE_MAX], *description = NULL;
    void *data = NULL;
    long result;

    if (size > KEY_PAYLOAD_MAX)
        return -EINVAL;
    result = get_type(task, type_ptr, type);
    if (result == 0 && description_ptr)
        result = get_string(task, description_ptr, KEY_DESCRIPTION_MAX, &description);
    if (result == 0 && description && description[0] == '.' && strncmp(type, "keyring", 7) == 0)
        result = -EPERM;
    if (result == 0)
        result = get_payload(task, payload_ptr, size, &data);
    if (result == 0) {
        request.type = type;
        request.description = description && *description ? description : NULL;
        request.payload.data = data;
        result = key_add(task, &request);
    }
    free_payload(data, size);
    free(description);
    return result;
}

SYSCALL_DEFINE4(request_key, uaddr_t, type_ptr, uaddr_t, description_ptr, uaddr_t, callout, int,
                keyring)
{
    struct key_request request = {.keyring = keyring, .construct = callout};
    char type[KEY_TYPE_MAX], *description = NULL, *information = NULL;
    long result = get_type(task, type_ptr, type);

    if (result == 0)
        result = get_string(task, description_ptr, KEY_DESCRIPTION_MAX, &description);
    if (result == 0 && callout)
        result = get_string(task, callout, PAGE_SIZE, &information);
    if (result == 0) {
        request.type = type;
        request.description = description;
        result = key_request(task, &request);
    }
    free(information);
    free(description);
    return result;
}

static long join_session(struct task *task, uaddr_t name_ptr)
{
    char *name = NULL;
    long result = 0;

    if (name_ptr)
        result = get_string(task, name_ptr, KEY_DESCRIPTION_MAX, &name);
    if (result == 0)
        result = name && name[0] == '.' ? -EPERM : key_join_session(task, name);
    free(name);
    return result;
}

static long update(struct task *task, int32_t id, uaddr_t payload, size_t size)
{
    void *data;
    long result;

    if (size > PAGE_SIZE)
        return -EINVAL;
    result = get_payload(task, payload, size, &data);
    if (result < 0)
        return result;
    result = key_update(task, id, (struct key_payload){data, size});
    free_payload(data, size);
    return result;
}

/* The whole length is told; what does not fit is not copied at all. */
static long give(struct task *task, uaddr_t buf, size_t size, const void *data, long length)
{
    if (length > 0 && buf && data && size >= (size_t)length &&
        copy_to_user(task->mm, buf, data, (size_t)length) < 0)
        return -EFAULT;
    return length;
}

static long describe(struct task *task, int32_t id, uaddr_t buf, size_t size)
{
    char *text = NULL;
    long result = key_describe(task, id, &text);

    result = give(task, buf, size, text, result);
    free(text);
    return result;
}

static long read_key(struct task *task, int32_t id, uaddr_t buf, size_t size)
{
    void *data = NULL;
    long length = key_read(task, id, buf ? size : 0, &data);
    long result = give(task, buf, size, data, length);

    free_payload(data, data ? (size_t)length : 0);
    return result;
}

static long get_security(struct task *task, int32_t id, uaddr_t buf, size_t size)
{
    long result = key_may_view(task, id);

    if (result < 0)
        return result;
    return buf && size > 0 && clear_user(task->mm, buf, 1) < 0 ? -EFAULT : 1;
}

static long search(struct task *task, int32_t keyring, uaddr_t type_ptr, uaddr_t description_ptr,
                   int32_t destination)
{
    char type[KEY_TYPE_MAX], *description = NULL;
    long result = get_type(task, type_ptr, type);

    if (result == 0)
        result = get_string(task, description_ptr, KEY_DESCRIPTION_MAX, &description);
    if (result < 0)
        return result;
    result = key_search(task, keyring, type, description, destination);
    free(description);
    return result;
}

static long restrict_keyring(struct task *task, int32_t id, uaddr_t type_ptr, uaddr_t restriction)
{
    char type[KEY_TYPE_MAX], *text = NULL;
    long result;

    if (!type_ptr != !restriction)
        return -EINVAL;
    if (!type_ptr)
        return key_restrict(task, id, NULL);
    result = get_type(task, type_ptr, type);
    if (result == 0)
        result = get_string(task, restriction, PAGE_SIZE, &text);
    if (result < 0)
        return result;
    free(text);
    return key_restrict(task, id, type);
}

/* What there is: the basics, large keys, invalidation, restrictions, moving. */
static long capabilities(struct task *task, uaddr_t buf, size_t size)
{
    const uint8_t caps[2] = {KEYCTL_CAPS0_CAPABILITIES | KEYCTL_CAPS0_BIG_KEY |
                             KEYCTL_CAPS0_INVALIDATE | KEYCTL_CAPS0_RESTRICT_KEYRING |
                             KEYCTL_CAPS0_MOVE};

    if (!buf || size == 0)
        return sizeof(caps);
    if (copy_to_user(task->mm, buf, caps, MIN(size, sizeof(caps))) < 0)
        return -EFAULT;
    if (size > sizeof(caps) && clear_user(task->mm, buf + sizeof(caps), size - sizeof(caps)) < 0)
        return -EFAULT;
    return sizeof(caps);
}

/* Only a program that constructs a key for another may do that, and there is none. */
static long instantiate(size_t size)
{
    return size > KEY_PAYLOAD_MAX ? -EINVAL : -EPERM;
}

static long reject(unsigned error)
{
    /* An errno that a program can get: not one of restarting. */
    if (error == 0 || error >= ERRNO_MAX || (error >= 512 && error <= 516))
        return -EINVAL;
    return -EPERM;
}

static long assume_authority(int32_t id)
{
    if (id < 0)
        return -EINVAL;
    return id == 0 ? 0 : -ENOKEY;
}

static long move(struct task *task, const uint64_t args[6])
{
    if (args[4] & ~(uint64_t)KEYCTL_MOVE_EXCL & UINT32_MAX)
        return -EINVAL;
    return key_move(task, (int32_t)args[1], (int32_t)args[2], (int32_t)args[3],
                    args[4] & KEYCTL_MOVE_EXCL);
}

/* Operations on one key that take numbers. */
static long change(struct task *task, int operation, const uint64_t args[6])
{
    int32_t id = (int32_t)args[1];

    switch (operation) {
    case KEYCTL_GET_KEYRING_ID:
        return key_get_keyring_id(task, id, (int)args[2]);
    case KEYCTL_REVOKE:
        return key_revoke(task, id);
    case KEYCTL_INVALIDATE:
        return key_invalidate(task, id);
    case KEYCTL_CHOWN:
        return key_chown(task, id, (uint32_t)args[2], (uint32_t)args[3]);
    case KEYCTL_SETPERM:
        return key_setperm(task, id, (uint32_t)args[2]);
    case KEYCTL_SET_TIMEOUT:
        return key_set_timeout(task, id, (uint32_t)args[2]);
    case KEYCTL_CLEAR:
        return key_clear(task, id);
    case KEYCTL_LINK:
        return key_link(task, id, (int32_t)args[2]);
    case KEYCTL_UNLINK:
        return key_unlink(task, id, (int32_t)args[2]);
    case KEYCTL_SET_REQKEY_KEYRING:
        return key_set_default(task, id);
    case KEYCTL_ASSUME_AUTHORITY:
        return assume_authority(id);
    case KEYCTL_SESSION_TO_PARENT:
        return key_session_to_parent(task);
    default:
        return -EOPNOTSUPP;
    }
}

long sys_keyctl(struct task *task, const uint64_t args[6])
{
    int32_t id = (int32_t)args[1];
    int operation = (int)args[0];

    switch (operation) {
    case KEYCTL_JOIN_SESSION_KEYRING:
        return join_session(task, args[1]);
    case KEYCTL_UPDATE:
        return update(task, id, args[2], args[3]);
    case KEYCTL_DESCRIBE:
        return describe(task, id, args[2], args[3]);
    case KEYCTL_SEARCH:
        return search(task, id, args[2], args[3], (int32_t)args[4]);
    case KEYCTL_READ:
        return read_key(task, id, args[2], args[3]);
    case KEYCTL_INSTANTIATE:
        return instantiate(args[3]);
    case KEYCTL_INSTANTIATE_IOV:
        return -EPERM;
    case KEYCTL_NEGATE:
        return -EPERM;
    case KEYCTL_REJECT:
        return reject((unsigned)args[3]);
    case KEYCTL_GET_SECURITY:
        return get_security(task, id, args[2], args[3]);
    case KEYCTL_RESTRICT_KEYRING:
        return restrict_keyring(task, id, args[2], args[3]);
    case KEYCTL_MOVE:
        return move(task, args);
    case KEYCTL_CAPABILITIES:
        return capabilities(task, args[1], args[2]);
    default:
        return change(task, operation, args);
    }
}
