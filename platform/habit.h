/*
 * Whether it pays to listen for a program's calls while it waits for each answer, instead of having
 * each call stop it (platform/kvm/exitless.c, platform/ptrace/listen.c). That takes a processor
 * beside the program's, and to begin and to end it costs as much as some calls do. So:
 *
 *     off  --`need` calls that could have been heard, hardly another trap between-->  on
 *     on   --nothing heard for long, or the credit is used up-->  off
 *
 *   - to begin with there is some credit, so that a trial does not end with the first loss;
 *   - each call heard earns what it saved; whatever was lost costs as much. When the credit is used
 *     up, twice as many calls are needed the next time, and each call heard takes a part of that
 *     away. So little more is lost than was won, whatever a program does; and one that makes
 *     thousands of calls goes on at once after a disturbance;
 *   - who has earned much is listened to for longer, as beginning anew is dear;
 *   - who has not listened yet begins with the need that others had lately, as it is likely to do
 *     what they did.
 *
 * Arithmetic over counts and times alone; nobody here looks at a clock. A context's habit is its
 * own thread's.
 */
#ifndef PLATFORM_HABIT_H
#define PLATFORM_HABIT_H

#include <stdbool.h>
#include <stdint.h>

/* What it costs and saves on a platform. */
struct habit_rates {
    uint32_t need_min, need_max; /* calls in a row */
    uint32_t first_max;          /* what is learnt from others of the sandbox is at most that */
    int64_t saved_ns;            /* by a call heard */
    int64_t credit_max_ns, trial_ns;
    uint64_t vain_ns;       /* lost by who begins, and ends it */
    uint64_t watch_ns;      /* hearing nothing for so long: it computes */
    uint64_t patience_part; /* of the credit that may be spent at once */
};

/* Where a context is, and from whom it learns. */
struct habit_place {
    const struct habit_rates *rates;
    uint32_t *here;   /* atomic, zero at first: the need of those in its address space ... */
    uint32_t *lately; /* ... and of any in the sandbox */
    bool always;      /* it is wanted whatever it costs */
};

/* All zero at first. */
struct habit {
    uint32_t need; /* 0: as others */
    uint32_t won;  /* calls heard */
    int64_t credit_ns;
};

/* After so many calls in a row that might have been heard. */
bool habit_wants(struct habit *h, const struct habit_place *place, uint32_t calls);
/* It is listened to from now on. */
void habit_begin(struct habit *h, const struct habit_place *place);
/* A call was heard. */
void habit_win(struct habit *h, const struct habit_place *place);
/*
 * So much was lost. True: some credit is left. Else so many `times` as many calls are needed from
 * now on, and it had better end.
 */
bool habit_lose(struct habit *h, const struct habit_place *place, uint64_t ns, uint32_t times);

/* One stretch of listening, in nanoseconds of one clock. */
struct habit_watch {
    uint64_t start, last, longest;
    uint64_t vain_ns;
    bool always;
};

void habit_watch_begin(struct habit_watch *w, const struct habit *h,
                       const struct habit_place *place, uint64_t now);
/* Nothing was heard up to now: 0, or how much is lost now that it ends, as it also does if `over`.
 */
uint64_t habit_watch_lost(struct habit_watch *w, uint64_t now, bool over);

#endif
