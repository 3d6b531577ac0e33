#include "ring0/code.h"

static uint64_t pick(uint8_t place, uint64_t rax, uint64_t rcx)
{
    return place == STEP_IN_RAX ? rax : place == STEP_IN_RCX ? rcx : 0;
}

bool ring3_step_undo(uint64_t offset, uint64_t rax, uint64_t rcx, uint64_t *ret_number,
                     uint64_t *ret_return_address)
{
    for (const struct ring0_step *s = ring3_steps; s < ring3_steps_end; s++) {
        if (s->offset != offset)
            continue;
        *ret_number = pick(s->number, rax, rcx) + (uint64_t)(int64_t)s->add;
        *ret_return_address = pick(s->ret, rax, rcx);
        return true;
    }
    return false;
}

/* Each of its answers is a step whose number needs no register any more. */
bool ring3_serves(uint64_t number)
{
    for (const struct ring0_step *s = ring3_steps; s < ring3_steps_end; s++) {
        if (s->number == STEP_IN_NO_REG && (uint64_t)s->add == number)
            return true;
    }
    return false;
}
