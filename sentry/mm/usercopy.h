/*
 * The only way to guest memory, together with uio.h. Every function checks the range, faults pages
 * in as the guest's own access would, and reads or writes each byte once. Nothing returned points
 * into guest memory.
 *
 * Return 0 or -EFAULT unless said otherwise. After -EFAULT a prefix may have been copied.
 */
#ifndef SENTRY_MM_USERCOPY_H
#define SENTRY_MM_USERCOPY_H

#include "base/compiler.h"

struct mm;

int copy_from_user(struct mm *mm, void *dst, uaddr_t src, size_t size);
int copy_to_user(struct mm *mm, uaddr_t dst, const void *src, size_t size);
/* How many bytes could be copied: a short count where copy_*_user would say -EFAULT. */
size_t copy_from_user_partial(struct mm *mm, void *dst, uaddr_t src, size_t size);
size_t copy_to_user_partial(struct mm *mm, uaddr_t dst, const void *src, size_t size);
size_t clear_user_partial(struct mm *mm, uaddr_t dst, size_t size);
int clear_user(struct mm *mm, uaddr_t dst, size_t size);
/*
 * Of a structure at `src` that has `size` bytes, of which we know the first `known`: the others
 * must be zero (Linux copy_struct_from_user()). -E2BIG: they are not. Nothing to say where size <=
 * known.
 */
int check_zero_from_user(struct mm *mm, uaddr_t src, size_t known, size_t size);
/* The length without the NUL; -ENAMETOOLONG when there is none within `size` bytes; -EFAULT. */
ssize_t strncpy_from_user(struct mm *mm, char *dst, uaddr_t src, size_t size);

/*
 * The memory of another program, whose mm the caller holds a reference on, as a debugger may use
 * it: past the protection of private memory (remote.c). Bytes moved.
 */
size_t mm_remote_read(struct mm *mm, uaddr_t addr, void *buf, size_t size);
size_t mm_remote_write(struct mm *mm, uaddr_t addr, const void *buf, size_t size);
/* How many of these bytes lie before the first that is nobody else's business: memfd_secret(2). */
uint64_t mm_not_secret(struct mm *mm, uaddr_t addr, uint64_t size);
/* Makes the program's next access to the page at addr fault, whatever it may do there. */
void mm_remote_hide(struct mm *mm, uaddr_t addr);

/* Aligned 32-bit words, for futexes: atomic with the guest's own locked instructions. */
int user_load32(struct mm *mm, uaddr_t addr, uint32_t *ret);
/* *ret_old is what was there; the exchange happened if that equals `expect`. */
int user_cmpxchg32(struct mm *mm, uaddr_t addr, uint32_t expect, uint32_t desired,
                   uint32_t *ret_old);

#define copy_struct_from_user(mm, ptr, src) copy_from_user(mm, ptr, src, sizeof(*(ptr)))
#define copy_struct_to_user(mm, dst, ptr)   copy_to_user(mm, dst, ptr, sizeof(*(ptr)))

#endif
