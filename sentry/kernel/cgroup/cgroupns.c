/* Cgroup namespaces: cgroup_namespaces(7). What is seen of the tree begins where their maker was.
 */
#include <stdlib.h>

#include "sentry/kernel/cgroup/cgroup.h"
#include "sentry/kernel/ns/nsproxy.h"
#include "sentry/kernel/task.h"

static void release(struct ns *ns)
{
    cgroup_unref(cgroup_ns_of(ns)->root);
    free(cgroup_ns_of(ns));
}

struct ns *cgroup_ns_create(struct task *task)
{
    struct cgroup_ns *ns = calloc(1, sizeof(*ns));

    if (!ns)
        return NULL;
    ns->root = task ? task_get_cgroup(task) : cgroup_ref(cgroup_root());
    ns->ns.release = release;
    return &ns->ns;
}

struct cgroup *task_cgroup_root(struct task *task)
{
    struct ns *ns = task_get_ns(task, NS_CGROUP);
    struct cgroup *root = cgroup_ref(ns ? cgroup_ns_of(ns)->root : cgroup_root());

    ns_unref(ns);
    return root;
}
