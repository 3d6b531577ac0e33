#include "platform/habit.h"

#include <sys/param.h>

#define WON_MANY     256U /* so many calls heard, and others may try at once */
#define FORGIVEN     8    /* a call heard takes that part of the need away */

#define PATIENT_NS   2000000U /* watched for so long where it does not matter what it costs */
#define PREEMPTED_NS 300000U  /* between two looks: the processors are wanted elsewhere */

static uint32_t learnt(const uint32_t *need)
{
    return __atomic_load_n(need, __ATOMIC_RELAXED);
}

static void teach(uint32_t *need, uint32_t value)
{
    __atomic_store_n(need, value, __ATOMIC_RELAXED);
}

bool habit_wants(struct habit *h, const struct habit_place *place, uint32_t calls)
{
    if (h->need == 0)
        h->need = MAX(MAX(learnt(place->here), learnt(place->lately)), place->rates->need_min);
    return calls >= h->need;
}

void habit_begin(struct habit *h, const struct habit_place *place)
{
    h->credit_ns = MAX(h->credit_ns, place->rates->trial_ns);
}

void habit_win(struct habit *h, const struct habit_place *place)
{
    const struct habit_rates *rates = place->rates;

    if (++h->won % WON_MANY == 0) {
        teach(place->lately, 0);
        teach(place->here, 0);
    }
    h->need = MAX(h->need - h->need / FORGIVEN, rates->need_min);
    h->credit_ns = MIN(h->credit_ns + rates->saved_ns, rates->credit_max_ns);
}

bool habit_lose(struct habit *h, const struct habit_place *place, uint64_t ns, uint32_t times)
{
    const struct habit_rates *rates = place->rates;

    h->credit_ns -= (int64_t)MIN(ns, 2 * (uint64_t)rates->credit_max_ns);
    if (h->credit_ns >= 0 || place->always)
        return true;
    h->credit_ns = 0;
    h->need = MIN(times * MAX(h->need, rates->need_min), rates->need_max);
    teach(place->lately, MIN(2 * MAX(learnt(place->lately), rates->need_min), rates->first_max));
    teach(place->here, MIN(2 * MAX(learnt(place->here), rates->need_min), rates->need_max));
    return false;
}

void habit_watch_begin(struct habit_watch *w, const struct habit *h,
                       const struct habit_place *place, uint64_t now)
{
    const struct habit_rates *rates = place->rates;
    uint64_t credit = (uint64_t)h->credit_ns;

    *w = (struct habit_watch){.start = now,
                              .last = now,
                              .longest = MAX(rates->watch_ns, credit / rates->patience_part),
                              .vain_ns = rates->vain_ns,
                              .always = place->always};
    if (place->always)
        w->longest = PATIENT_NS;
}

uint64_t habit_watch_lost(struct habit_watch *w, uint64_t now, bool over)
{
    uint64_t away = now - w->last;

    w->last = now;
    if (away > PREEMPTED_NS && !w->always)
        return away;
    return over || now - w->start > w->longest ? w->vain_ns + (now - w->start) / 2 : 0;
}
