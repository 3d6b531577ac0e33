/*
 * Which back-ends this binary has, and which one a host gets.
 */
#ifndef RUNTIME_PLATFORMS_H
#define RUNTIME_PLATFORMS_H

#include "platform/platform.h"

#define PLATFORM_COUNT 2

extern const struct platform_ops *const platforms[PLATFORM_COUNT];

/* What one trap costs a typical program on this platform, from its probe's figures, in ns. */
uint64_t platform_cost(const struct platform_report *report);

/*
 * A platform in this memory. "auto" measures one after the other and takes the cheapest usable one;
 * a name takes that one and measures nothing. NULL when nothing is usable; the reasons are logged.
 */
struct platform *platform_choose(const char *name, struct memfile *mf);

/* `kvmsentry doctor`: prints to standard output; 0 when a program could be run here, else 1. */
int doctor_run(void);

#endif
