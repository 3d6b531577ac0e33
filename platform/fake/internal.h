#ifndef PLATFORM_FAKE_INTERNAL_H
#define PLATFORM_FAKE_INTERNAL_H

#include "platform/fake/fake.h"

/* space.c */
int fake_space_create(struct platform *p, struct address_space *like, struct address_space **ret);
void fake_space_destroy(struct address_space *as);
void fake_space_recall(struct address_space *as, platform_recall_fn keep, void *arg);
int fake_space_map(struct address_space *as, uaddr_t addr, int prot, struct memfile_range range);
int fake_space_unmap(struct address_space *as, uaddr_t addr, uint64_t size);
/* What is unmapped in between is taken for mapped until it is settled: nobody may free it. */
void fake_space_gather(struct address_space *as, bool on);
void fake_space_settle(struct address_space *as);

/* fake.c */
struct memfile *fake_platform_memfile(struct platform *p);

#endif
