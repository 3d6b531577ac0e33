#include "sentry/vfs/mount/mount_show.h"

#include <errno.h>
#include <string.h>

#include "sentry/vfs/mount/mount_internal.h"
#include "sentry/vfs/path/namei.h"

#define SHOWN_MAPPED 0x8000U /* no flag, but told like one */

void mount_show_flags_locked(const struct mount *m, char buf[MOUNT_OPTIONS_MAX])
{
    static const struct {
        uint32_t flag;
        const char *text;
    } words[] = {
        {MOUNT_NOSUID, ",nosuid"},           {MOUNT_NODEV, ",nodev"},
        {MOUNT_NOEXEC, ",noexec"},           {MOUNT_NOATIME, ",noatime"},
        {MOUNT_NODIRATIME, ",nodiratime"},   {MOUNT_RELATIME, ",relatime"},
        {MOUNT_NOSYMFOLLOW, ",nosymfollow"}, {SHOWN_MAPPED, ",idmapped"},
    };
    uint32_t flags = mount_get_flags(m) | (m->map ? SHOWN_MAPPED : 0);
    size_t at = 0;

    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        size_t size = strlen(words[i].text);

        if (!(flags & words[i].flag) || at + size >= MOUNT_OPTIONS_MAX)
            continue;
        memcpy(buf + at, words[i].text, size);
        at += size;
    }
    buf[at] = '\0';
}

void mount_show_options_locked(const struct mount *m, char buf[MOUNT_OPTIONS_MAX])
{
    buf[0] = '\0';
    if (m->sb->show_options)
        m->sb->show_options(m->sb, buf, MOUNT_OPTIONS_MAX);
}

bool mount_visible_locked(const struct mount *m, const struct path *root)
{
    struct dentry *at = m->root;

    while (m != root->mount && m->over.mount) {
        at = m->over.dentry;
        m = m->over.mount;
    }
    return m == root->mount && dentry_is_below(at, root->dentry);
}

static bool has_visible(const struct peer_group *group, const struct mount_ns *ns,
                        const struct path *root)
{
    const struct mount *m;

    list_for_each (m, &group->members, group_node) {
        if (m->ns == ns && mount_visible_locked(m, root))
            return true;
    }
    return false;
}

struct mount_peers mount_peers_locked(const struct mount *m, const struct path *root)
{
    struct mount_peers peers = {.group = m->group ? m->group->id : 0,
                                .master = m->master ? m->master->id : 0};

    for (const struct peer_group *g = m->master; g;) {
        if (has_visible(g, m->ns, root)) {
            peers.from = g->id;
            break;
        }
        g = list_first(&g->members, struct mount, group_node)->master;
    }
    return peers;
}

ssize_t mount_root_name_locked(const struct mount *m, char *buf, size_t size)
{
    static const char removed[] = "//deleted";
    ssize_t n;

    if (m->sb->show_root)
        return m->sb->show_root(m->root, buf, size);
    n = dentry_path(m->root, buf + 1, size - 1);

    if (n < 0)
        return n;
    buf[0] = '/';
    n++;
    if (!dentry_gone(m->root))
        return n;
    if ((size_t)n + sizeof(removed) > size)
        return -ENAMETOOLONG;
    memcpy(buf + n, removed, sizeof(removed));
    return n + (ssize_t)sizeof(removed) - 1;
}

struct mount *mount_find_locked(const struct mount_ns *ns, uint64_t unique_id)
{
    struct mount *m;

    list_for_each (m, &ns->mounts, ns_node) {
        if (m->unique_id == unique_id)
            return m;
    }
    return NULL;
}
