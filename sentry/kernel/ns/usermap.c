/*
 * Writing a user namespace's maps of ids: user_namespaces(7), "User and group ID mappings". Rules
 * and their order as in Linux kernel/user_namespace.c:map_write().
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/kernel/cred.h"
#include "sentry/kernel/ns/userns.h"

static const char *skip_blanks(const char *at)
{
    while (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\v' || *at == '\f')
        at++;
    return at;
}

/* A decimal number of 32 bits and the blank or end behind it; NULL: there is none. */
static const char *parse_id(const char *at, uint32_t *ret)
{
    uint64_t value = 0;

    at = skip_blanks(at);
    if (*at < '0' || *at > '9')
        return NULL;
    for (; *at >= '0' && *at <= '9'; at++) {
        value = value * 10 + (uint64_t)(*at - '0');
        if (value > UINT32_MAX)
            return NULL;
    }
    if (*at && *at != '\n' && skip_blanks(at) == at)
        return NULL;
    *ret = (uint32_t)value;
    return at;
}

static bool ranges_meet(uint32_t a, uint32_t b, uint32_t a_count, uint32_t b_count)
{
    return a <= b + (b_count - 1) && b <= a + (a_count - 1);
}

static bool extent_fits(const struct id_map *map, const struct id_extent *e)
{
    if (e->first == ID_NONE || e->kernel == ID_NONE)
        return false;
    if (e->first + e->count <= e->first || e->kernel + e->count <= e->kernel)
        return false; /* empty, or over the end */
    for (size_t i = 0; i < map->count; i++) {
        const struct id_extent *other = &map->extents[i];

        if (ranges_meet(e->first, other->first, e->count, other->count) ||
            ranges_meet(e->kernel, other->kernel, e->count, other->count))
            return false;
    }
    return true;
}

/* Lines of "first-inside first-outside count"; the ids outside are still the parent's. -EINVAL. */
static int parse_map(const char *text, struct id_map *map)
{
    const char *at = text;

    while (*at) {
        struct id_extent e;

        at = parse_id(at, &e.first);
        at = at ? parse_id(at, &e.kernel) : NULL;
        at = at ? parse_id(at, &e.count) : NULL;
        at = at ? skip_blanks(at) : NULL;
        if (!at || (*at && *at != '\n'))
            return -EINVAL;
        if (!extent_fits(map, &e) || map->count == ID_MAP_EXTENTS_MAX)
            return -EINVAL;
        map->extents[map->count++] = e;
        if (*at)
            at++;
    }
    return map->count ? 0 : -EINVAL;
}

/* To be the parent's root in files' capabilities takes CAP_SETFCAP: Linux verify_root_map(). */
static bool may_map_root(const struct user_ns *ns, const struct id_map *map,
                         const struct cred *opener)
{
    if (id_map_from_kernel(map, 0) == ID_NONE)
        return true;
    if (opener->user_ns == ns)
        return ns->parent_had_setfcap;
    return cred_has_ns_cap(opener, user_ns_parent(ns), CAP_SETFCAP);
}

/* Who maps nobody but himself gains nothing by it. */
static bool maps_only_oneself(const struct user_ns *ns, enum id_kind kind, const struct id_map *map,
                              const struct cred *opener)
{
    uint32_t id;

    if (map->count != 1 || map->extents[0].count != 1 || ns->owner != opener->euid)
        return false;
    id = id_map_to_kernel(user_ns_map(user_ns_parent(ns), kind), map->extents[0].kernel);
    if (kind == ID_USER)
        return id == opener->euid;
    return kind == ID_GROUP && id == opener->egid &&
           !__atomic_load_n(&ns->setgroups_allowed, __ATOMIC_RELAXED);
}

static bool map_permitted(const struct user_ns *ns, enum id_kind kind, const struct id_map *map,
                          const struct cred *opener, const struct cred *writer)
{
    int cap = kind == ID_USER ? CAP_SETUID : CAP_SETGID;

    if (kind == ID_USER && !may_map_root(ns, map, opener))
        return false;
    if (kind == ID_PROJECT || maps_only_oneself(ns, kind, map, opener))
        return true;
    return cred_has_ns_cap(writer, user_ns_parent(ns), cap) &&
           cred_has_ns_cap(opener, user_ns_parent(ns), cap);
}

/* From the parent's ids to the kernel's. */
static int settle_map(const struct user_ns *ns, enum id_kind kind, struct id_map *map)
{
    const struct id_map *above = user_ns_map(user_ns_parent(ns), kind);

    for (size_t i = 0; i < map->count; i++) {
        struct id_extent *e = &map->extents[i];

        e->kernel = id_map_range(above, e->kernel, e->count);
        if (e->kernel == ID_NONE)
            return -EPERM;
    }
    return 0;
}

static int write_locked(struct user_ns *ns, enum id_kind kind, struct id_map *map,
                        const struct cred *opener, const struct cred *writer, const char *text)
{
    int error;

    if (ns->maps[kind])
        return -EPERM; /* once and for all */
    if (kind != ID_PROJECT && !cred_has_ns_cap(opener, ns, CAP_SYS_ADMIN))
        return -EPERM;
    error = parse_map(text, map);
    if (error == 0 && !map_permitted(ns, kind, map, opener, writer))
        error = -EPERM;
    if (error == 0)
        error = settle_map(ns, kind, map);
    if (error == 0)
        __atomic_store_n(&ns->maps[kind], map, __ATOMIC_RELEASE);
    return error;
}

int user_ns_write_map(struct user_ns *ns, enum id_kind kind, const struct cred *opener,
                      const struct cred *writer, const char *text)
{
    struct id_map *map;
    int error;

    if (!user_ns_parent(ns) || (opener->user_ns != ns && opener->user_ns != user_ns_parent(ns)))
        return -EPERM;
    map = malloc(sizeof(*map) + ID_MAP_EXTENTS_MAX * sizeof(map->extents[0]));
    if (!map)
        return -ENOMEM;
    map->count = 0;
    lock_acquire(&ns->lock);
    error = write_locked(ns, kind, map, opener, writer, text);
    lock_release(&ns->lock);
    if (error < 0)
        free(map);
    return error;
}

int user_ns_set_setgroups(struct user_ns *ns, bool allow)
{
    int error = 0;

    lock_acquire(&ns->lock);
    if (allow && !ns->setgroups_allowed)
        error = -EPERM;
    else if (!allow && ns->maps[ID_GROUP])
        error = -EPERM;
    else
        __atomic_store_n(&ns->setgroups_allowed, allow, __ATOMIC_RELAXED);
    lock_release(&ns->lock);
    return error;
}

bool user_ns_may_setgroups(struct user_ns *ns)
{
    return user_ns_map(ns, ID_GROUP) && __atomic_load_n(&ns->setgroups_allowed, __ATOMIC_RELAXED);
}
