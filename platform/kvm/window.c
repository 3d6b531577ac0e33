/*
 * Leaving one step earlier on a software KVM.
 *
 * There a SYSCALL of the program is an exit into the kernel's KVM by itself; normally KVM then
 * enters the guest once more, only for the trampoline to leave it for good. If kvm_run asks for the
 * interrupt window, KVM goes on to the VMM instead, since a program always has interrupts enabled:
 * one entry saved, a quarter of the call. But every other exit that KVM would serve by itself
 * (filling its shadow page tables) then comes to the VMM as well, and the fast path is never
 * reached. So the window is asked for only while the program does nothing but make system calls:
 *
 *   off --`wait` calls in a row that left through the trampoline--> on
 *   on  --more exits for nothing than calls pay for, or a call for the fast path--> off, wait
 * doubled
 */
#include "platform/kvm/internal.h"
#include "ring0/code.h"

#define WAIT_MIN  3
#define WAIT_MAX  64
#define MISS_COST 2 /* an exit for nothing costs about what two calls save */
#define SCORE_MIN -6
#define SCORE_MAX 20 /* after so many calls without a miss `wait` starts over */

static void window_set(struct vcpu *v, bool on)
{
    v->window.streak = 0;
    v->window.score = 0;
    v->run->request_interrupt_window = on;
}

void window_off(struct vcpu *v)
{
    if (v->run->request_interrupt_window)
        window_set(v, false);
}

static void window_give_up(struct vcpu *v)
{
    v->window.wait = (uint8_t)MIN(v->window.wait * 2, WAIT_MAX);
    window_set(v, false);
}

void window_called(struct vcpu *v)
{
    if (!v->run->request_interrupt_window) {
        if (++v->window.streak >= v->window.wait)
            window_set(v, true);
    } else if (v->window.score < SCORE_MAX && ++v->window.score == SCORE_MAX) {
        v->window.wait = WAIT_MIN;
    }
}

void window_missed(struct vcpu *v)
{
    v->window.score -= MISS_COST;
    if (v->window.score < SCORE_MIN)
        window_give_up(v);
}

bool window_leaves_to_fastpath(struct vcpu *v, const struct fastpath_page *page, uint64_t number)
{
    if (!page->enabled || !ring0_serves(number))
        return false;
    window_give_up(v);
    return true;
}

void window_init(struct vcpu *v)
{
    v->window.wait = WAIT_MIN;
    window_set(v, false);
}
