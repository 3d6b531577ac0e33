/* The vDSO in a test's own process, and its symbols as a C library's dl_vdso_vsym() finds them. */
#ifndef TESTS_UNIT_VDSO_LOOKUP_H
#define TESTS_UNIT_VDSO_LOOKUP_H

#include <elf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/compiler.h"
#include "vdso/timepage.h"
#include "vdso/vdso_image.h"

struct dynamic {
    const Elf64_Sym *symtab;
    const char *strtab;
    const uint32_t *hash, *gnu_hash;
    const Elf64_Half *versym;
    const Elf64_Verdef *verdef;
    bool has_relocations;
};

static inline struct dynamic read_dynamic(const uint8_t *image)
{
    const Elf64_Ehdr *eh = (const void *)image;
    const Elf64_Phdr *ph = (const void *)(image + eh->e_phoff);
    const Elf64_Dyn *dyn = NULL;
    struct dynamic d = {0};

    for (int i = 0; i < eh->e_phnum; i++)
        if (ph[i].p_type == PT_DYNAMIC)
            dyn = (const void *)(image + ph[i].p_offset);
    if (!dyn)
        abort();
    for (; dyn->d_tag != DT_NULL; dyn++) {
        const void *p = image + dyn->d_un.d_ptr;

        if (dyn->d_tag == DT_SYMTAB)
            d.symtab = p;
        else if (dyn->d_tag == DT_STRTAB)
            d.strtab = p;
        else if (dyn->d_tag == DT_HASH)
            d.hash = p;
        else if (dyn->d_tag == DT_GNU_HASH)
            d.gnu_hash = p;
        else if (dyn->d_tag == DT_VERSYM)
            d.versym = p;
        else if (dyn->d_tag == DT_VERDEF)
            d.verdef = p;
        else if (dyn->d_tag == DT_RELA || dyn->d_tag == DT_REL || dyn->d_tag == DT_JMPREL ||
                 dyn->d_tag == DT_TEXTREL || dyn->d_tag == DT_NEEDED)
            d.has_relocations = true;
    }
    if (!d.symtab || !d.strtab || !d.hash || !d.versym || !d.verdef)
        abort();
    return d;
}

static inline uint32_t sysv_hash(const char *name)
{
    uint32_t h = 0;

    for (; *name; name++) {
        h = (h << 4) + (uint8_t)*name;
        h ^= h >> 24 & 0xf0;
    }
    return h & 0x0fffffff;
}

static inline const char *version_of(const struct dynamic *d, uint32_t index)
{
    const Elf64_Verdef *def = d->verdef;

    for (;;) {
        const Elf64_Verdaux *aux = (const void *)((const char *)def + def->vd_aux);

        if (def->vd_ndx == (d->versym[index] & 0x7fff))
            return d->strtab + aux->vda_name;
        if (def->vd_next == 0)
            return "";
        def = (const void *)((const char *)def + def->vd_next);
    }
}

static inline void *vdso_symbol(const uint8_t *image, const char *name)
{
    struct dynamic d = read_dynamic(image);
    uint32_t buckets = d.hash[0];
    const uint32_t *chain = d.hash + 2 + buckets;

    for (uint32_t i = d.hash[2 + sysv_hash(name) % buckets]; i; i = chain[i])
        if (strcmp(d.strtab + d.symtab[i].st_name, name) == 0 &&
            strcmp(version_of(&d, i), "LINUX_2.6") == 0)
            return (void *)(image + d.symtab[i].st_value);
    return NULL;
}

/* Parameter page and image side by side, as in a guest; the image's address. */
static inline const uint8_t *vdso_in_process(struct timepage **ret_page)
{
    size_t size = PAGE_SIZE + round_up(vdso_image_size, PAGE_SIZE);
    uint8_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        abort();
    memcpy(p + PAGE_SIZE, vdso_image, vdso_image_size);
    mprotect(p + PAGE_SIZE, size - PAGE_SIZE, PROT_READ | PROT_EXEC);
    *ret_page = (struct timepage *)p;
    return p + PAGE_SIZE;
}

#endif
