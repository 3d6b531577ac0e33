/*
 * Which pages are written soon after a fork: see struct hot_pages.
 */
#include <stdlib.h>

#include "sentry/mm/internal.h"

struct hot_pages *hot_pages_create(void)
{
    struct hot_pages *hot = calloc(1, sizeof(*hot));

    if (hot)
        refcount_set(&hot->refs, 1);
    return hot;
}

struct hot_pages *hot_pages_ref(struct hot_pages *hot)
{
    refcount_get(&hot->refs);
    return hot;
}

struct hot_pages *hot_pages_unref(struct hot_pages *hot)
{
    if (hot && refcount_put(&hot->refs))
        free(hot);
    return NULL;
}

bool hot_pages_has(const struct hot_pages *hot, uaddr_t page)
{
    for (int i = 0; i < HOT_PAGES; i++) {
        if (__atomic_load_n(&hot->page[i], __ATOMIC_RELAXED) == page)
            return true;
    }
    return false;
}

void hot_pages_note(struct hot_pages *hot, uaddr_t page)
{
    uint32_t i;

    if (hot_pages_has(hot, page))
        return;
    i = __atomic_fetch_add(&hot->next, 1, __ATOMIC_RELAXED) % HOT_PAGES;
    __atomic_store_n(&hot->page[i], page, __ATOMIC_RELAXED);
}
