/*
 * Classic BPF: a small machine that reads a call (seccomp(2)) or a packet (SO_ATTACH_FILTER of
 * socket(7)) and says what becomes of it. No task and no memory of the guest is involved;
 * tests/unit/bpf_test.c comes in here.
 *
 * A program that passed bpf_check() always ends: jumps go forward only, and its last instruction
 * returns.
 */
#ifndef BASE_BPF_H
#define BASE_BPF_H

#include <linux/filter.h>
#include <linux/seccomp.h>

#include "base/compiler.h"

#define BPF_PROGRAM_MAX 4096 /* instructions */

/* 0; -EINVAL for a program that Linux refuses (bpf_check_classic(), seccomp_check_filter()). */
int bpf_check(const struct sock_filter *program, uint32_t count);
/* What a checked program returns for this call. */
uint32_t bpf_run(const struct sock_filter *program, const struct seccomp_data *data);

/* A packet, and what is known of it beside its bytes (SKF_AD_* of linux/filter.h). */
struct bpf_packet {
    const uint8_t *bytes;
    uint32_t size;          /* bytes, from `data` on */
    uint32_t data, network; /* where offsets, and those from SKF_NET_OFF on, begin in `bytes` */
    uint16_t protocol;      /* ETH_P_* */
    uint8_t kind;           /* PACKET_* */
    uint32_t interface, hardware_type, mark, cpu, random, payload;
};
/* Likewise for packets: loads of bytes, halves and words at computed places, and ancillary data. */
int bpf_check_packet(const struct sock_filter *program, uint32_t count);
/* What a checked program returns: how many bytes of the packet may stay, 0 for none. */
uint32_t bpf_run_packet(const struct sock_filter *program, const struct bpf_packet *packet);

#endif
