/*
 * Attributes and small arithmetic that every floor uses.
 *
 * The thread-safety attributes are clang's (-Wthread-safety); with gcc they vanish.
 */
#ifndef BASE_COMPILER_H
#define BASE_COMPILER_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define likely(x)         __builtin_expect(!!(x), 1)
#define unlikely(x)       __builtin_expect(!!(x), 0)
#define __noreturn        __attribute__((noreturn))
#define __printf(fmt, va) __attribute__((format(printf, fmt, va)))
#define __packed          __attribute__((packed))
#define __aligned_to(n)   __attribute__((aligned(n)))
#define __must_check      __attribute__((warn_unused_result))

/* Built with a sanitizer that has memory and host calls of its own: gcc has a macro, clang a
 * feature. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#if defined(__clang__)
#define __capability(name) __attribute__((capability(name)))
/* Documentation only: clang cannot yet name a sibling field in C. */
#define __guarded_by(lock)
#define __acquires(...)    __attribute__((acquire_capability(__VA_ARGS__)))
#define __releases(...)    __attribute__((release_capability(__VA_ARGS__)))
#define __must_hold(...)   __attribute__((requires_capability(__VA_ARGS__)))
#define __no_lock_analysis __attribute__((no_thread_safety_analysis))
#else
#define __capability(name)
#define __guarded_by(lock)
#define __acquires(...)
#define __releases(...)
#define __must_hold(...)
#define __no_lock_analysis
#endif

#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member)                                                            \
    ({                                                                                             \
        __typeof__(((type *)0)->member) *__member_ptr = (ptr);                                     \
        (type *)((char *)__member_ptr - offsetof(type, member));                                   \
    })

#define MIN(a, b)                                                                                  \
    ({                                                                                             \
        __typeof__(a) __min_a = (a);                                                               \
        __typeof__(b) __min_b = (b);                                                               \
        __min_a < __min_b ? __min_a : __min_b;                                                     \
    })
#define MAX(a, b)                                                                                  \
    ({                                                                                             \
        __typeof__(a) __max_a = (a);                                                               \
        __typeof__(b) __max_b = (b);                                                               \
        __max_a > __max_b ? __max_a : __max_b;                                                     \
    })

/* A power of two `to`; round_up() wraps to 0 past the end of the type: check before. */
#define round_down(x, to) ((x) & ~((__typeof__(x))(to)-1))
#define round_up(x, to)   round_down((x) + ((__typeof__(x))(to)-1), to)
#define is_aligned(x, to) (((x) & ((__typeof__(x))(to)-1)) == 0)

/* Shared with the guest or other threads: exactly one access, never repeated by the compiler. */
#define READ_ONCE(x)     (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))

#define PAGE_SHIFT       12
#define PAGE_SIZE        4096UL
#define PAGE_MASK        (~(PAGE_SIZE - 1))
#define HUGE_PAGE_SIZE   (2UL << 20)

/* An address in the guest's virtual space: an integer, so that nobody dereferences it by mistake.
 */
typedef uint64_t uaddr_t;

#endif
