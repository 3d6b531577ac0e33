/*
 * Has anything come from outside since then? What the host gives (bytes, events, signals, answers)
 * is counted, by the wrapper, before its caller has it. So as long as the count stands, nobody in
 * the sandbox can know of a change outside but by looking, or by the clock.
 */
#ifndef HOST_NEWS_H
#define HOST_NEWS_H

#include <stdint.h>

extern uint64_t host_news_count; /* atomic */

static inline uint64_t host_news(void)
{
    return __atomic_load_n(&host_news_count, __ATOMIC_ACQUIRE);
}

static inline void host_news_note(void)
{
    __atomic_add_fetch(&host_news_count, 1, __ATOMIC_ACQ_REL);
}

#endif
