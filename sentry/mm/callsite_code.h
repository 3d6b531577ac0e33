/*
 * The bytes of rewritten call sites (callsite.h): pages as bytes and offsets, nothing else.
 *
 *     b8 N..          0f 05    mov  $N, %eax; syscall      ->   e9 ..  0f 05    jmp entry; syscall
 *     31 c0           0f 05    xor  %eax, %eax; syscall    ->   eb ..  0f 05    jmp step; syscall
 *     4c 8b 4c 24 08  0f 05    mov  8(%rsp), %r9; syscall  ->   e9 ..  0f 05    jmp entry; syscall
 *     bf 9c ff ff ff  0f 05    mov  $-100, %edi; syscall    ->   e9 ..  0f 05    jmp entry; syscall
 *
 * The third is the end of syscall(2), which gets the number in rax: its entry loads r9, and looks
 * whether the number fits into what call_entry takes. So does that of the fourth, which loads edi:
 * what libc does where it opens files by AT_FDCWD.
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

enum callsite_form { CALLSITE_MOV, CALLSITE_XOR, CALLSITE_LOAD };

/* A call site in its page, or its file: offsets. */
struct callsite {
    enum callsite_form form;
    uint32_t number; /* of CALLSITE_LOAD, that of the call that was seen */
    uint64_t behind; /* of what follows SYSCALL */
    uint64_t step;   /* of CALLSITE_XOR, where the step is; else 0 */
    uint32_t entry;  /* in the island's page, once it has one */
    uint8_t load[5]; /* of CALLSITE_LOAD, the instruction before SYSCALL */
};

#define CALLSITE_CALL  2 /* SYSCALL */
#define CALLSITE_LEAST 4 /* a site */

/* An island is its tail, and slots of which each entry takes one or some: bytes. */
#define ISLAND_TAIL_SIZE 16
#define ISLAND_SLOT_SIZE 17

/*
 * Is there a site of this number before `behind` in the page, one that can be rewritten? (One of
 * CALLSITE_LOAD is of any number.) Its offsets in the page are in *ret. `current`: the same page
 * as it is rewritten by now. The last byte of SYSCALL may be in the next page, where the caller has
 * seen it: whoever changes the instruction changes the first byte's page, too.
 */
bool callsite_recognize(const uint8_t *page, const uint8_t *current, uint32_t behind,
                        uint64_t number, struct callsite *ret);
uint64_t callsite_start(const struct callsite *site);
/* How many its entry takes. */
uint32_t callsite_slots(const struct callsite *site);
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
/*
 * Who is at this offset of the tail, of the site's entry, is taken back to the site: to `rip` in
 * the file, with that in rax. False: no instruction is there.
 */
bool callsite_undo_tail(uint64_t at, const struct callsite *site, uint64_t *rip, uint64_t *rax);
bool callsite_undo_entry(uint64_t at, const struct callsite *site, uint64_t *rip, uint64_t *rax);

#endif
