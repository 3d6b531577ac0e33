/*
 * A vigil: staying awake for a moment before sleeping, in the hope that the wake-up is near. Two
 * tasks that answer each other then need neither a call of the host nor a switch for it, and what
 * one does after its message goes on beside what the other does with it. Where the hope fails it
 * costs processor time, so each waiter learns whether it pays, and few may be awake at once.
 */
#ifndef SENTRY_WAIT_VIGIL_H
#define SENTRY_WAIT_VIGIL_H

#include "base/compiler.h"

/* What one waiter has learnt; its owner's alone. See vigil.c. */
struct vigil {
    int credit;        /* > 0: on, it stays awake */
    uint32_t usual_ns; /* how long the won ones took, on average */
    uint32_t won;      /* so many since it is on */
    uint32_t stuck;    /* so often it could not: it ran where its waker runs */
    uint32_t rest;     /* short sleeps until it tries (again) */
    uint32_t next_rest;
};

/* The sandbox has so many processors: one at least is left to those who have something to do.
 * Before this call nobody stays awake. */
void vigil_setup(unsigned int cpus);
void vigil_init(struct vigil *v);

bool vigil_is_on(const struct vigil *v);
/* Should the waiter and its waker run on different processors? Only there it can win, but what it
 * wins may be less than what it gains from taking turns on one. */
bool vigil_wants_apart(const struct vigil *v);
/*
 * Waits, awake, for any of `bits` in *word, until CLOCK_MONOTONIC `deadline_ns` at most. True when
 * one is there; false, perhaps at once: the caller is to sleep. `together`: its waker runs on the
 * same processor, as far as one knows.
 */
bool vigil_keep(struct vigil *v, const uint32_t *word, uint32_t bits, bool together,
                uint64_t deadline_ns);
/* The caller was woken `ns` after it had begun to wait, and had to sleep. */
void vigil_slept(struct vigil *v, uint64_t ns);

/* What vigil_keep() is made of, for tests. For how many nanoseconds it is worth to stay awake: */
uint32_t vigil_budget(const struct vigil *v);
/* It took `ns`; won: what was waited for has come. */
void vigil_ended(struct vigil *v, uint64_t ns, bool won);
/* One of those who may be awake at once. False: there are enough, and no vigil_end(). */
bool vigil_begin(void);
void vigil_end(void);

#endif
