/*
 * Names: a path makes an inode of type socket, and whoever has bound it is found by the inode;
 * abstract names, which begin with a NUL, belong to the network namespace and to the socket's type.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sentry/net/netns.h"
#include "sentry/net/unix/internal.h"
#include "sentry/vfs/attr/identity.h"
#include "sentry/vfs/landlock/landlock.h"
#include "sentry/vfs/path/modify.h"
#include "sentry/vfs/attr/permission.h"

#define NAME_BUCKETS 256
#define PATH_OFFSET  offsetof(struct sockaddr_un, sun_path)
#define AUTO_NAMES   0x100000u /* five hexadecimal digits */

struct unix_names {
    struct lock lock;
    struct list buckets[NAME_BUCKETS] __guarded_by(lock);
    struct list all __guarded_by(lock); /* sockets, with a name or without */
    uint32_t last_auto __guarded_by(lock);
};

/* Sockets by inode; of all namespaces, since files are. */
static struct lock paths_lock = LOCK_INIT;
static struct list paths[NAME_BUCKETS] __guarded_by(paths_lock);

int unix_names_create(struct net_ns *net, void **ret)
{
    struct unix_names *names = calloc(1, sizeof(*names));

    if (!names)
        return -ENOMEM;
    lock_init(&names->lock);
    list_init(&names->all);
    for (int i = 0; i < NAME_BUCKETS; i++)
        list_init(&names->buckets[i]);
    *ret = names;
    return 0;
}

void unix_names_destroy(void *names)
{
    lock_destroy(&((struct unix_names *)names)->lock);
    free(names);
}

static struct unix_names *names_of(struct unix_socket *u)
{
    return net_ns_family(u->sock.net, AF_UNIX);
}

void unix_enlist(struct unix_socket *u)
{
    struct unix_names *names = names_of(u);

    lock_acquire(&names->lock);
    list_add_tail(&names->all, &u->all_node);
    lock_release(&names->lock);
}

void unix_delist(struct unix_socket *u)
{
    struct unix_names *names = names_of(u);

    lock_acquire(&names->lock);
    list_del_init(&u->all_node);
    lock_release(&names->lock);
}

struct unix_address *unix_address_ref(struct unix_address *a)
{
    if (a)
        refcount_get(&a->refs);
    return a;
}

struct unix_address *unix_address_unref(struct unix_address *a)
{
    if (a && refcount_put(&a->refs))
        free(a);
    return NULL;
}

struct unix_address *unix_address_create(const struct socket_address *addr)
{
    struct unix_address *a = malloc(sizeof(*a));

    if (a) {
        refcount_set(&a->refs, 1);
        a->addr = *addr;
    }
    return a;
}

int unix_check_address(const struct socket_address *addr, struct socket_address *ret)
{
    size_t length;

    if (addr->size <= PATH_OFFSET || addr->size > sizeof(struct sockaddr_un) ||
        addr->family != AF_UNIX)
        return -EINVAL;
    memset(ret, 0, sizeof(*ret));
    ret->size = addr->size;
    memcpy(ret->bytes, addr->bytes, addr->size);
    if (ret->bytes[PATH_OFFSET] == '\0')
        return 0;
    length = strnlen((const char *)ret->bytes + PATH_OFFSET, addr->size - PATH_OFFSET);
    memset(ret->bytes + PATH_OFFSET + length, 0, SOCKET_ADDRESS_MAX - PATH_OFFSET - length);
    ret->size = (uint32_t)(PATH_OFFSET + length + 1);
    return 0;
}

static const char *path_of(const struct socket_address *addr)
{
    return (const char *)addr->bytes + PATH_OFFSET;
}

/* ---- abstract names ---------------------------------------------------------------------------
 */

static struct list *name_bucket(struct unix_names *names, const struct socket_address *addr,
                                int type)
{
    uint32_t hash = 2166136261u ^ (uint32_t)type;

    for (uint32_t i = PATH_OFFSET; i < addr->size; i++)
        hash = (hash ^ addr->bytes[i]) * 16777619u;
    return &names->buckets[hash % NAME_BUCKETS];
}

static struct unix_socket *find_name_locked(struct unix_names *names,
                                            const struct socket_address *addr, int type)
{
    struct unix_socket *u;

    list_for_each (u, name_bucket(names, addr, type), name_node) {
        const struct socket_address *has = &u->address->addr;

        if (u->sock.type == type && has->size == addr->size &&
            memcmp(has->bytes, addr->bytes, addr->size) == 0)
            return u;
    }
    return NULL;
}

static void set_name_locked(struct unix_socket *u, struct unix_address *a, struct list *bucket)
{
    __atomic_store_n(&u->address, a, __ATOMIC_RELEASE);
    list_add(bucket, &u->name_node);
}

static int bind_abstract(struct unix_socket *u, const struct socket_address *addr)
{
    struct unix_names *names = names_of(u);
    struct unix_address *a = unix_address_create(addr);
    int err = 0;

    if (!a)
        return -ENOMEM;
    lock_acquire(&names->lock);
    if (u->address)
        err = -EINVAL;
    else if (find_name_locked(names, addr, u->sock.type))
        err = -EADDRINUSE;
    else
        set_name_locked(u, a, name_bucket(names, addr, u->sock.type));
    lock_release(&names->lock);
    if (err < 0)
        unix_address_unref(a);
    return err;
}

/* The next free name of five hexadecimal digits. */
static bool choose_name_locked(struct unix_names *names, struct unix_socket *u,
                               struct socket_address *addr)
{
    for (uint32_t i = 0; i < AUTO_NAMES; i++) {
        names->last_auto = (names->last_auto + 1) % AUTO_NAMES;
        snprintf((char *)addr->bytes + PATH_OFFSET + 1, 6, "%05x", names->last_auto);
        if (!find_name_locked(names, addr, u->sock.type))
            return true;
    }
    return false;
}

int unix_autobind(struct unix_socket *u)
{
    struct unix_names *names = names_of(u);
    struct socket_address addr = {.size = PATH_OFFSET + 6, .family = AF_UNIX};
    struct unix_address *a = unix_address_create(&addr);
    int err = 0;

    if (!a)
        return -ENOMEM;
    lock_acquire(&names->lock);
    if (!u->address && !choose_name_locked(names, u, &a->addr))
        err = -ENOSPC;
    else if (!u->address)
        set_name_locked(u, unix_address_ref(a), name_bucket(names, &a->addr, u->sock.type));
    lock_release(&names->lock);
    unix_address_unref(a);
    return err;
}

/* ---- paths ------------------------------------------------------------------------------------
 */

static struct list *path_bucket(const struct inode *inode)
{
    struct list *bucket = &paths[(inode->ino ^ inode->dev * 31) % NAME_BUCKETS];

    if (!bucket->next)
        list_init(bucket);
    return bucket;
}

static int make_node(struct fs_context *fs, const char *name, struct path *ret)
{
    struct inode_make make = {.mode = S_IFSOCK | (0777 & ~fs_context_umask(fs))};
    struct walk_parent parent;
    int err = path_walk_parent(fs, NULL, name, &parent);

    if (err < 0)
        return err;
    err = parent.kind == LAST_NAME ? vfs_make_at(&parent, &make, ret) : -EEXIST;
    path_unref(&parent.path);
    return err == -EEXIST ? -EADDRINUSE : err;
}

static int bind_path(struct unix_socket *u, const struct socket_address *addr)
{
    struct unix_names *names = names_of(u);
    struct net_caller caller;
    struct unix_address *a;
    struct path at;
    int err;

    net_caller(&caller);
    if (!caller.fs)
        return -EINVAL;
    a = unix_address_create(addr);
    if (!a)
        return -ENOMEM;
    err = make_node(caller.fs, path_of(addr), &at);
    if (err < 0) {
        unix_address_unref(a);
        return err;
    }
    lock_acquire(&names->lock);
    lock_acquire(&paths_lock);
    if (u->address) {
        err = -EINVAL;
    } else {
        u->at = at;
        set_name_locked(u, a, path_bucket(at.dentry->inode));
    }
    lock_release(&paths_lock);
    lock_release(&names->lock);
    if (err < 0) {
        vfs_remove(caller.fs, NULL, path_of(addr), false);
        path_unref(&at);
        unix_address_unref(a);
    }
    return err;
}

int unix_bind(struct socket *s, const struct socket_address *addr)
{
    struct unix_socket *u = unix_of(s);
    struct socket_address name;
    int err;

    if (addr->size == PATH_OFFSET && addr->family == AF_UNIX)
        return unix_autobind(u);
    err = unix_check_address(addr, &name);
    if (err < 0)
        return err;
    return *path_of(&name) ? bind_path(u, &name) : bind_abstract(u, &name);
}

void unix_unbind(struct unix_socket *u)
{
    struct unix_names *names = names_of(u);

    lock_acquire(&names->lock);
    lock_acquire(&paths_lock);
    list_del_init(&u->name_node);
    lock_release(&paths_lock);
    lock_release(&names->lock);
    path_unref(&u->at);
}

static struct unix_socket *find_inode(const struct inode *inode)
{
    struct unix_socket *u, *found = NULL;

    lock_acquire(&paths_lock);
    list_for_each (u, path_bucket(inode), name_node) {
        const struct inode *has = u->at.dentry->inode;

        if (has->ino == inode->ino && has->dev == inode->dev) {
            found = unix_ref(u);
            break;
        }
    }
    lock_release(&paths_lock);
    return found;
}

int unix_walk(const char *path, struct walk_result *ret)
{
    struct net_caller caller;
    int err;

    net_caller(&caller);
    if (!caller.fs)
        return -ECONNREFUSED;
    err = path_walk(caller.fs, NULL, path, WALK_FOLLOW, ret);
    if (err < 0)
        return err;
    err = ret->file ? -ECONNREFUSED : path_permission(&ret->path, W_OK);
    if (!err && inode_type(ret->path.dentry->inode) != S_IFSOCK)
        err = -ECONNREFUSED;
    if (err < 0)
        walk_result_unref(ret);
    return err;
}

static int find_path(struct unix_socket *asking, const char *name, struct unix_socket **ret)
{
    struct walk_result at;
    struct unix_socket *u;
    int err = unix_walk(name, &at);

    if (err < 0)
        return err;
    u = find_inode(at.path.dentry->inode);
    walk_result_unref(&at);
    if (!u)
        return -ECONNREFUSED;
    if (u->sock.type != asking->sock.type) {
        unix_unref(u);
        return -EPROTOTYPE;
    }
    *ret = u;
    return 0;
}

int unix_find(struct unix_socket *asking, const struct socket_address *addr,
              struct unix_socket **ret)
{
    struct unix_names *names = names_of(asking);
    struct unix_socket *u;

    if (*path_of(addr))
        return find_path(asking, path_of(addr), ret);
    lock_acquire(&names->lock);
    u = find_name_locked(names, addr, asking->sock.type);
    if (u)
        *ret = unix_ref(u);
    lock_release(&names->lock);
    if (!u)
        return -ECONNREFUSED;
    if (!landlock_scoped(vfs_identity()->landlock, u->landlock, LANDLOCK_ABSTRACT_UNIX))
        return 0;
    unix_unref(u);
    return -EPERM;
}

/* ---- for those who look on --------------------------------------------------------------------
 */

static void put_name(struct unix_socket *u, struct socket_info *info)
{
    const struct unix_address *name = unix_name(u);

    if (!name)
        return;
    info->name_size = name->addr.size - (uint32_t)PATH_OFFSET;
    if (*path_of(&name->addr))
        info->name_size--; /* without its NUL */
    memcpy(info->name, path_of(&name->addr), info->name_size);
}

/* With the table's lock held, which is outside sock.lock. */
static void put_info(struct unix_socket *u, struct socket_info *info)
{
    *info = (struct socket_info){
        .ino = u->sock.ino,
        .refs = refcount_read(&u->sock.refs) + 1,
        .uid = own_attr_uid(&u->sock.attr),
        .type = (uint8_t)u->sock.type,
        .shutdown = (uint8_t)unix_shut(u),
    };
    lock_acquire(&u->sock.lock);
    info->state = u->state == UNIX_CONNECTED   ? SOCKET_ESTABLISHED
                  : u->state == UNIX_LISTENING ? SOCKET_LISTENING
                                               : SOCKET_CLOSED;
    if (u->peer && !u->peer->dead)
        info->peer_ino = u->peer->sock.ino;
    info->reading = u->state == UNIX_LISTENING ? u->waiting_count : (uint32_t)u->queued_bytes;
    info->writing = u->state == UNIX_LISTENING
                        ? u->backlog
                        : (uint32_t)__atomic_load_n(&u->sent, __ATOMIC_RELAXED);
    lock_release(&u->sock.lock);
    put_name(u, info);
}

void unix_list(struct net_ns *net, socket_info_fn show, void *arg)
{
    struct unix_names *names = net_ns_family(net, AF_UNIX);
    struct unix_socket *u;
    bool more = true;

    lock_acquire(&names->lock);
    list_for_each (u, &names->all, all_node) {
        struct socket_info info;

        if (!more)
            break;
        put_info(u, &info);
        more = show(arg, &info);
    }
    lock_release(&names->lock);
}
