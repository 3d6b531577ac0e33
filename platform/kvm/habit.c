/*
 * Whether it pays to serve a program's calls while it waits inside the guest:
 *
 *   off  --`need` calls in a row that left the guest soon after it was entered-->  on
 *   on   --a watch in vain-->                                                      off
 *
 * Each call served inside earns what it has saved. A watch in vain costs what it took: to begin, to
 * watch and to fetch the guest out, or, where somebody else had the processor meanwhile, that time.
 * When the credit is used up, twice as many calls are needed the next time. So whatever a program
 * does, little more is lost than was won; and one that makes thousands of calls goes on at once
 * after a disturbance.
 */
#include "platform/kvm/internal.h"

#define CLOSE_NS   100000U /* a call that left the guest so soon might have been watched for */
#define DEAR_NS    5000U   /* leaving and entering that costs less is not worth a processor */
#define NEED_MIN   4U
#define FORGIVEN   8       /* a call served inside takes that part of the need away */
#define LOOKS      4       /* for the shortest of so many */
#define SAVED_NS   20000   /* what each call is assumed to save */
#define CREDIT_MAX 8000000 /* ns */

void habit_vain(struct exitless_habit *h, uint64_t ns)
{
    h->hot = false;
    h->streak = 0;
    h->credit_ns -= (int64_t)MIN(ns, (uint64_t)2 * CREDIT_MAX);
    if (h->credit_ns >= 0)
        return;
    h->credit_ns = 0;
    h->need = MIN(2 * MAX(h->need, NEED_MIN), HABIT_NEED_MAX);
}

void habit_worth(struct exitless_habit *h)
{
    h->hot = true;
    h->need = MAX(h->need - h->need / FORGIVEN, NEED_MIN);
    h->credit_ns = MIN(h->credit_ns + SAVED_NS, (int64_t)CREDIT_MAX);
}

/* The shortest of the last few: one that was interrupted at once says nothing for long. */
static void note_least(struct exitless_habit *h, uint64_t ns)
{
    h->least_yet_ns = h->looked++ % LOOKS == 0 ? ns : MIN(ns, h->least_yet_ns);
    if (h->looked % LOOKS == 0)
        h->least_ns = h->least_yet_ns;
}

void habit_left(struct exitless_habit *h, uint64_t ns)
{
    note_least(h, ns);
    if (ns < CLOSE_NS)
        h->streak++;
    else
        h->streak /= 2;
}

bool habit_wants(const struct exitless_habit *h)
{
    return h->hot || (h->streak >= MAX(h->need, NEED_MIN) && h->least_ns >= DEAR_NS);
}
