/*
 * Machine-code guests against any platform, without a Sentry: what every back-end must do alike.
 * A test is a function that checks with CHECK(); the first failed check ends it.
 */
#ifndef TESTS_PLATFORM_HARNESS_H
#define TESTS_PLATFORM_HARNESS_H

#include <stdio.h>
#include <stdlib.h>

#include "platform/platform.h"

#define CODE_ADDR  0x400000UL
#define STACK_ADDR 0x600000UL
#define DATA_ADDR  0x700000UL
#define STACK_TOP  (STACK_ADDR + PAGE_SIZE)

/* While threads run that use the caller's locals: the first failure ends the whole program. */
#define MUST(cond, ...)                                                                            \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            check_failed(__FILE__, __LINE__, #cond, __VA_ARGS__);                                  \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* One platform for the whole run. */
struct world {
    const struct platform_ops *ops;
    struct memfile *mf;
    struct platform *p;
};

/* An address space with the code page (r-x), a stack page (rw-) and a data page (rw-). */
struct space {
    struct world *w;
    struct address_space *as;
    struct memfile_range code, stack, data;
};

struct test {
    const char *name;
    bool (*run)(struct world *w);
};

extern const struct test basic_tests[], exception_tests[], thread_tests[], life_tests[];
/* Calls by way of platform_limits.call_entry, where there is one. */
extern const struct test handover_tests[];
/* What only the KVM platform has: its vCPUs, its code in the guest. */
extern const struct test kvm_tests[];

bool check_failed(const char *file, int line, const char *cond, const char *fmt, ...)
    __printf(4, 5);

#define CHECK(cond, ...)                                                                           \
    do {                                                                                           \
        if (!(cond))                                                                               \
            return check_failed(__FILE__, __LINE__, #cond, __VA_ARGS__);                           \
    } while (0)

/* All end the process when they fail: that is not what is tested. */
void world_create(struct world *w, const struct platform_ops *ops);
void world_destroy(struct world *w);
void space_make(struct world *w, struct space *ret);
void space_free(struct space *s);
struct memfile_range page_alloc(struct world *w);
void page_free(struct world *w, struct memfile_range page);
void page_map(struct space *s, uaddr_t addr, int prot, struct memfile_range page);
void page_unmap(struct space *s, uaddr_t addr);
uint64_t *page_words(struct world *w, struct memfile_range page);
/* A context at the start of guest code `entry` (guests.S) with a stack. */
struct context *context_at(struct world *w, const uint8_t *entry);
uaddr_t guest_addr(const uint8_t *symbol);
const char *trap_name(enum trap trap);

/* guests.S: position-independent pieces, all in one page. */
extern const uint8_t guests[], guests_end[];
extern const uint8_t guest_syscall[], guest_count[], guest_load[], guest_store[], guest_jump[];
extern const uint8_t guest_div[], guest_ud2[], guest_int3[], guest_hlt[], guest_step[], guest_sse[];
extern const uint8_t guest_x87[], guest_align[], guest_int80[], guest_compat[], guest_segments[];
extern const uint8_t guest_xmm[], guest_fs[], guest_spin_load[], guest_spin_store[], guest_spin[];
extern const uint8_t guest_vsyscall[], guest_vsyscall_back[], guest_sse_at[], guest_x87_at[];
extern const uint8_t guest_align_at[], guest_int80_at[], guest_step_at[];
extern const uint8_t guest_handover[], guest_scribble[];
extern const uint8_t guest_ymm[], guest_fast[], guest_fast_end[], guest_out[], guest_in[];

#endif
