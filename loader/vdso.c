/*
 * Our vDSO as an object that every address space maps (vdso.h). An object of its own kind and not
 * shared memory: the guest must have no way to punch out or replace the page that the Sentry goes
 * on writing to.
 */
#include "loader/vdso.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/mm/mappable.h"
#include "sentry/mm/mm.h"
#include "vdso/vdso_image.h"

#define PARAMETERS_SIZE PAGE_SIZE

static_assert(sizeof(struct timepage) <= PARAMETERS_SIZE, "parameter page");

struct vdso_object {
    struct mappable base;
    struct memfile *memfile; /* borrowed: outlives every address space */
    struct memfile_range pages;
};

static int vdso_get_pages(struct mappable *m, uint64_t offset, uint64_t want, bool write,
                          struct memfile_range *ret_range)
{
    struct vdso_object *object = container_of(m, struct vdso_object, base);

    /* Only private mappings are made, and those copy before they write. */
    if (write)
        return -EACCES;
    if (offset >= object->pages.size)
        return -EFAULT;
    ret_range->start = object->pages.start + offset;
    ret_range->size = MIN(want, object->pages.size - offset);
    memfile_ref(object->memfile, *ret_range);
    return 0;
}

static void vdso_release(struct mappable *m)
{
    struct vdso_object *object = container_of(m, struct vdso_object, base);

    memfile_unref(object->memfile, object->pages);
    mappable_fini(m);
    free(object);
}

static bool vdso_resident(struct mappable *m, uint64_t offset)
{
    (void)m;
    (void)offset;
    return true;
}

static void vdso_name(struct mappable *m, char *buf, size_t size)
{
    snprintf(buf, size, "[vdso]");
}

static const struct mappable_ops vdso_ops = {
    .get_pages = vdso_get_pages,
    .resident = vdso_resident,
    .release = vdso_release,
    .name = vdso_name,
};

int vdso_create(struct memfile *mf, struct vdso *ret_vdso)
{
    uint64_t image_size = round_up(vdso_image_size, PAGE_SIZE);
    struct vdso_object *object = calloc(1, sizeof(*object));
    int r;

    if (!object)
        return -ENOMEM;
    r = memfile_alloc(mf, PARAMETERS_SIZE + image_size, PAGE_SIZE, &object->pages);
    if (r) {
        free(object);
        return r;
    }
    object->memfile = mf;
    mappable_init(&object->base, &vdso_ops);
    memcpy(memfile_ptr(mf, object->pages.start + PARAMETERS_SIZE), vdso_image, vdso_image_size);
    *ret_vdso = (struct vdso){
        .object = &object->base,
        .timepage = memfile_ptr(mf, object->pages.start),
        .image_size = image_size,
    };
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

int vdso_map_parameters(const struct vdso *vdso, struct mm *mm, uaddr_t code)
{
    return map_part(vdso, mm, code - PARAMETERS_SIZE, 0, PARAMETERS_SIZE, PROT_READ, PROT_READ,
                    "[vvar]");
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
