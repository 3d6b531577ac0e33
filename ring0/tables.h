/*
 * Descriptor tables of the guest: GDT, IDT and TSS in memory (SDM vol. 3, 3.5, 6.14, 8.7), for the
 * layout of ring0/layout.h.
 */
#ifndef RING0_TABLES_H
#define RING0_TABLES_H

#include "base/compiler.h"
#include "ring0/layout.h"

struct __packed ring0_tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t io_bitmap; /* offset from the TSS */
};
static_assert(sizeof(struct ring0_tss) == TABLES_IO_BITMAP, "the bitmap is right behind");

/* Limit of a TSS with a bitmap that lets ring 3 use PORT_SYSCALL and PORT_PROBE, and without. */
#define TSS_LIMIT_WITH_PORTS    (TABLES_IO_BITMAP + 4)
#define TSS_LIMIT_WITHOUT_PORTS (TABLES_IO_BITMAP - 1)

/* Fills the page "tables" of the area at guest address `area`. */
void ring0_fill_tables(void *page, uint64_t area, uint32_t tss_limit);
/* Fills the IDT's page; the gates lead to the code page at guest address `code`. */
void ring0_fill_idt(void *page, uint64_t code, uint64_t page_fault_offset);
/* True for those exceptions for which the CPU pushes an error code (SDM vol. 3, table 6-1). */
bool ring0_has_error_code(unsigned int vector);

#define IDT_LIMIT (CODE_STUB_COUNT * 16 - 1)
#define GDT_LIMIT (GDT_ENTRY_COUNT * 8 - 1)

#endif
