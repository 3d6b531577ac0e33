/*
 * Calls in a row that left the guest soon after it was entered: those that might have been served
 * inside. They count only where leaving is dear.
 */
#include "platform/kvm/internal.h"

#define CLOSE_NS 100000U /* a call that left the guest so soon might have been watched for */
#define DEAR_NS  5000U   /* leaving and entering that costs less is not worth a processor */
#define LOOKS    4       /* for the shortest of so many */

/* The shortest of the last few: one that was interrupted at once says nothing for long. */
static void note_least(struct streak *s, uint64_t ns)
{
    s->least_yet_ns = s->looked++ % LOOKS == 0 ? ns : MIN(ns, s->least_yet_ns);
    if (s->looked % LOOKS == 0)
        s->least_ns = s->least_yet_ns;
}

void streak_add(struct streak *s, uint64_t ns)
{
    note_least(s, ns);
    if (ns < CLOSE_NS)
        s->calls++;
    else
        s->calls /= 2;
}

uint32_t streak_calls(const struct streak *s)
{
    return s->least_ns >= DEAR_NS ? s->calls : 0;
}
