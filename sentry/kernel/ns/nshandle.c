/* File handles of namespaces: fs/nsfs.c of Linux 6.18, struct nsfs_file_handle. */
#include <errno.h>
#include <linux/capability.h>
#include <string.h>

#include "sentry/kernel/ns/nsfile.h"
#include "sentry/kernel/ns/nsproxy.h"
#include "sentry/kernel/ns/userns.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/attr/handle.h"

#define TYPE_NSFS 0xf1

struct ns_handle_abi {
    uint64_t id;
    uint32_t type; /* CLONE_NEW* */
    uint32_t inum;
};
static_assert(sizeof(struct ns_handle_abi) == 16, "struct nsfs_file_handle");

void ns_handle_encode(const struct ns *ns, struct handle *ret)
{
    const struct ns_handle_abi abi = {
        .id = ns_number(ns), .type = (uint32_t)ns_flag(ns->type), .inum = (uint32_t)ns->inum};

    *ret = (struct handle){.type = TYPE_NSFS, .size = sizeof(abi)};
    memcpy(ret->bytes, &abi, sizeof(abi));
}

static bool is_in(struct task *task, const struct ns *ns)
{
    struct ns *own = task_get_ns(task, ns->type);
    bool same = own == ns;

    ns_unref(own);
    return same;
}

static bool may_open(struct task *task, struct ns *ns)
{
    struct user_ns *over = ns->type == NS_USER ? user_ns_of(ns) : ns->owner;

    return is_in(task, ns) || task_has_ns_cap(task, over, CAP_SYS_ADMIN);
}

int ns_handle_decode(struct task *task, const struct handle *handle, struct ns **ret)
{
    struct ns_handle_abi abi;
    struct ns *ns;

    if (handle->type != TYPE_NSFS || handle->size < sizeof(abi))
        return -ESTALE;
    memcpy(&abi, handle->bytes, sizeof(abi));
    ns = ns_find(abi.id);
    if (ns && (abi.inum != ns->inum || abi.type != ns_flag(ns->type) || !may_open(task, ns)))
        ns = ns_unref(ns);
    if (!ns)
        return -ESTALE;
    *ret = ns;
    return 0;
}
