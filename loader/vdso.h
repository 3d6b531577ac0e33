/*
 * Our vDSO as guests see it: one shared object of pages, the parameter page first and the ELF image
 * (vdso/) behind it, mapped by the loader into every address space.
 *
 *   object:   | struct timepage |  vdso image ...  |
 *   guest:    [vvar] r--         [vdso] r-x
 */
#ifndef LOADER_VDSO_H
#define LOADER_VDSO_H

#include "vdso/timepage.h"
#include "base/compiler.h"

struct mappable;
struct memfile;
struct mm;

struct vdso {
    struct mappable *object;
    struct timepage *timepage; /* the Sentry's view: written under its seqlock, mode 0 at first */
    uint64_t image_size;       /* bytes of [vdso], whole pages */
};

/* One for the whole sandbox. -ENOMEM. */
int vdso_create(struct memfile *mf, struct vdso *ret_vdso);
void vdso_destroy(struct vdso *vdso);
/* Bytes of address space that vdso_map() takes. */
uint64_t vdso_size(const struct vdso *vdso);

/* Puts this one's parameter page in front of the code at AT_SYSINFO_EHDR, in place of another's. */
int vdso_map_parameters(const struct vdso *vdso, struct mm *mm, uaddr_t code);
/* Maps both near `hint` (0: anywhere). ret_addr is AT_SYSINFO_EHDR. Errors as mm_map(). */
int vdso_map(const struct vdso *vdso, struct mm *mm, uaddr_t hint, uaddr_t *ret_addr);

#endif
