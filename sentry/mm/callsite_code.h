/*
 * The bytes of rewritten call sites (callsite.h): pages as bytes and offsets, nothing else.
 *
 *     b8 N..  0f 05    mov  $N, %eax; syscall   ->   e9 ..  0f 05    jmp entry; syscall
 *     31 c0   0f 05    xor  %eax, %eax; syscall ->   eb ..  0f 05    jmp step; syscall
 *
 * Two bytes do not lead far. So the second form has a step in the same page: five bytes of a long
 * nop that compilers put between functions, of which the processor ignores the operand:
 *
 *     0f 1f 84 00 00 00 00 00    nopl 0(%rax,%rax)  ->  0f 1f 84 [e9 ..]    still a nop
 *
 * The page without the rewritten sites, but with the steps, is for threads that are found there
 * when all is undone: in it they lead back to their site.
 */
#ifndef SENTRY_MM_CALLSITE_CODE_H
#define SENTRY_MM_CALLSITE_CODE_H

#include "base/compiler.h"

/* A call site in its page, or its file: offsets. */
struct callsite {
    uint64_t behind; /* of what follows SYSCALL */
    uint64_t step;   /* of the second form, where the step is; else 0 */
    uint32_t number;
};

#define CALLSITE_CALL  2 /* SYSCALL */
#define CALLSITE_LEAST 4 /* a site */

/* How an island begins, and each of its entries: bytes; and where instructions are in them. */
#define ISLAND_TAIL_SIZE  16
#define ISLAND_ENTRY_SIZE 17

/*
 * Is there a site of this number before `behind` in the page, one that can be rewritten? Its
 * offsets in the page are in *ret. `current`: the same page as it is rewritten by now.
 */
bool callsite_recognize(const uint8_t *page, const uint8_t *current, uint32_t behind,
                        uint64_t number, struct callsite *ret);
uint64_t callsite_start(const struct callsite *site);
/* In the page that is at `base` of the file, to go to `entry` of the file. */
void callsite_write(uint8_t *page, uint64_t base, const struct callsite *site, uint64_t entry);
/* Only its step, which leads to the site. */
void callsite_write_step(uint8_t *page, uint64_t base, const struct callsite *site);

/* The end of the text segment that has `offset`, by the headers in the file's first page; or 0. */
uint64_t callsite_text_end(const uint8_t *page, uint64_t offset);
/* Where in its last page there is place for an island, if the text ends at `end`. 0: nowhere. */
uint32_t callsite_island_start(const uint8_t *page, uint64_t end);
void callsite_write_tail(uint8_t *at, uaddr_t call_entry);
/* `entry`, `tail`: offsets in the file of what is written at `at` and of the tail. */
void callsite_write_entry(uint8_t *at, uint64_t entry, uint64_t tail, const struct callsite *site);
/* Is there an instruction at this offset of the tail, of the site's entry? */
bool callsite_is_in_tail(uint64_t at);
bool callsite_is_in_entry(uint64_t at, const struct callsite *site);

#endif
