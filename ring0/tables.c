/*
 * The IDT has the 32 gates of the exceptions and no more: `int n` of a program finds no gate, or
 * one that ring 3 may not use, and is a #GP as on a Linux without 32-bit emulation.
 */
#include "ring0/tables.h"

#include <string.h>

#define DPL_RING3 3
#define GATE_64   0x8e /* present, interrupt gate */

/* Code and data descriptors: present, flat, accessed (so that no CPU has to write them). */
#define DESCRIPTOR_KERNEL_CODE 0x00af9b000000ffffUL
#define DESCRIPTOR_KERNEL_DATA 0x00cf93000000ffffUL
#define DESCRIPTOR_USER_DATA   0x00cff3000000ffffUL
#define DESCRIPTOR_USER_CODE   0x00affb000000ffffUL
#define DESCRIPTOR_TSS_TYPE    (0x8bUL << 40) /* present, busy 64-bit TSS */

/* Interrupts of the hardware kind may come at any instruction, also where rsp is not ours. */
static unsigned int gate_stack(unsigned int vector)
{
    switch (vector) {
    case 1: /* #DB */
        return 1;
    case 2: /* NMI */
        return 2;
    case 8:  /* #DF */
    case 18: /* #MC */
        return 3;
    default:
        return 0; /* RSP0 */
    }
}

void ring0_fill_tables(void *page, uint64_t area, uint32_t tss_limit)
{
    uint8_t *bytes = page;
    uint64_t stack = area + RING0_AREA_STACK, tss_address = area + RING0_AREA_TABLES + TABLES_TSS;
    struct ring0_tss tss = {
        .rsp = {stack + STACK_RSP0_TOP},
        .ist = {stack + STACK_IST1_TOP, stack + STACK_IST2_TOP, stack + STACK_IST3_TOP},
        .io_bitmap = TABLES_IO_BITMAP,
    };
    uint64_t gdt[GDT_ENTRY_COUNT] = {
        [SELECTOR_KERNEL_CS / 8] = DESCRIPTOR_KERNEL_CODE,
        [SELECTOR_KERNEL_DS / 8] = DESCRIPTOR_KERNEL_DATA,
        [SELECTOR_USER_DS / 8] = DESCRIPTOR_USER_DATA,
        [SELECTOR_USER_CS / 8] = DESCRIPTOR_USER_CODE,
    };

    gdt[SELECTOR_TSS / 8] = (tss_limit & 0xffff) | (tss_address & 0xffffff) << 16 |
                            DESCRIPTOR_TSS_TYPE | (tss_address >> 24 & 0xff) << 56;
    gdt[SELECTOR_TSS / 8 + 1] = tss_address >> 32;
    memcpy(bytes + TABLES_TSS, &tss, sizeof(tss));
    memset(bytes + TABLES_IO_BITMAP, 0xff, 16);
    bytes[TABLES_IO_BITMAP + PORT_SYSCALL / 8] &= (uint8_t) ~(1U << PORT_SYSCALL % 8);
    bytes[TABLES_IO_BITMAP + PORT_PROBE / 8] &= (uint8_t) ~(1U << PORT_PROBE % 8);
    memcpy(bytes + TABLES_GDT, gdt, sizeof(gdt));
}

void ring0_fill_idt(void *page, uint64_t code, uint64_t page_fault_offset)
{
    uint64_t *idt = page;

    for (unsigned int v = 0; v < CODE_STUB_COUNT; v++) {
        uint64_t gate = code + (v == 14 ? page_fault_offset : CODE_STUBS + v * CODE_STUB_SIZE);
        uint64_t dpl = v == 3 || v == 4 ? DPL_RING3 : 0; /* int3 and into */

        idt[2 * v] = (gate & 0xffff) | (uint64_t)SELECTOR_KERNEL_CS << 16 |
                     (uint64_t)gate_stack(v) << 32 | (GATE_64 | dpl << 5) << 40 |
                     (gate >> 16 & 0xffff) << 48;
        idt[2 * v + 1] = gate >> 32;
    }
}

bool ring0_has_error_code(unsigned int vector)
{
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 ||
           vector == 29 || vector == 30;
}
