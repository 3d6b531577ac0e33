/*
 * Maps between the ids that a user namespace shows and the kernel's own, which are those of the
 * first namespace: user_namespaces(7). All that the Sentry keeps are kernel ids; they are
 * translated where they come from a program or go to one.
 */
#ifndef SENTRY_VFS_IDMAP_H
#define SENTRY_VFS_IDMAP_H

#include <stddef.h>

#include "base/compiler.h"

#define ID_NONE            UINT32_MAX /* no id: not mapped, or "do not change" */
#define ID_OVERFLOW        65534U     /* what programs see of an id that their namespace lacks */
#define ID_MAP_EXTENTS_MAX 340        /* UID_GID_MAP_MAX_EXTENTS */

/* The ids first, first + 1, ... of the namespace are the kernel's from `kernel` on. */
struct id_extent {
    uint32_t first, kernel, count;
};

/* Never changes once it is there. A NULL map maps nothing. */
struct id_map {
    size_t count;
    struct id_extent extents[];
};

/* ID_NONE: not mapped. */
uint32_t id_map_to_kernel(const struct id_map *map, uint32_t id);
uint32_t id_map_from_kernel(const struct id_map *map, uint32_t id);
/* The same for programs to see: ID_OVERFLOW when it is not mapped. */
uint32_t id_map_shown(const struct id_map *map, uint32_t id);
/* The kernel's first of `count` ids that lie in one extent; ID_NONE: they do not. */
uint32_t id_map_range(const struct id_map *map, uint32_t first, uint32_t count);

#endif
