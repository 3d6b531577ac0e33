/* Our vDSO as an object that every address space maps (vdso.h). */
#include "loader/vdso.h"

#include <string.h>

#include "sentry/mm/mappable.h"
#include "sentry/mm/mm.h"
#include "vdso/vdso_image.h"

#define PARAMETERS_SIZE PAGE_SIZE

static_assert(sizeof(struct timepage) <= PARAMETERS_SIZE, "parameter page");

int vdso_create(struct memfile *mf, struct vdso *ret_vdso)
{
    uint64_t size = PARAMETERS_SIZE + round_up(vdso_image_size, PAGE_SIZE);
    struct mappable *object;
    int r = shmem_create(mf, size, &object);

    if (r)
        return r;
    for (uint64_t at = 0; at < size; at += PAGE_SIZE) {
        struct memfile_range page;

        r = object->ops->get_pages(object, at, PAGE_SIZE, true, &page);
        if (r) {
            mappable_unref(object);
            return r;
        }
        /* The object keeps its pages; ours is one reference too many. */
        memfile_unref(mf, page);
        if (at == 0)
            ret_vdso->timepage = memfile_ptr(mf, page.start);
        else
            memcpy(memfile_ptr(mf, page.start), vdso_image + (at - PARAMETERS_SIZE),
                   MIN(PAGE_SIZE, vdso_image_size - (at - PARAMETERS_SIZE)));
    }
    ret_vdso->object = object;
    ret_vdso->image_size = size - PARAMETERS_SIZE;
    return 0;
}

void vdso_destroy(struct vdso *vdso)
{
    mappable_unref(vdso->object);
    *vdso = (struct vdso){0};
}

uint64_t vdso_size(const struct vdso *vdso)
{
    return PARAMETERS_SIZE + vdso->image_size;
}

static int map_part(const struct vdso *vdso, struct mm *mm, uaddr_t addr, uint64_t offset,
                    uint64_t size, int prot, int max_prot, const char *name)
{
    struct mm_map_args args = {
        .addr = addr,
        .size = size,
        .prot = prot,
        .flags = MAP_PRIVATE | MAP_FIXED,
        .object = vdso->object,
        .offset = offset,
        .max_prot = max_prot,
        .name = name,
    };

    return mm_map(mm, &args, &addr);
}

int vdso_map(const struct vdso *vdso, struct mm *mm, uaddr_t hint, uaddr_t *ret_addr)
{
    struct mm_map_args place = {
        .addr = hint,
        .size = vdso_size(vdso),
        .prot = PROT_NONE,
        .flags = MAP_PRIVATE | MAP_ANONYMOUS,
    };
    uaddr_t addr;
    int r = mm_map(mm, &place, &addr);

    if (r == 0)
        r = map_part(vdso, mm, addr, 0, PARAMETERS_SIZE, PROT_READ, PROT_READ, "[vvar]");
    /* A debugger may write breakpoints into its copy of the code. */
    if (r == 0)
        r = map_part(vdso, mm, addr + PARAMETERS_SIZE, PARAMETERS_SIZE, vdso->image_size,
                     PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE | PROT_EXEC, "[vdso]");
    if (r == 0)
        *ret_addr = addr + PARAMETERS_SIZE;
    return r;
}
