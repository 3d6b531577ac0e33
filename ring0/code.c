#include "ring0/code.h"

/* From entry_ring0.S and entry_ring3.S. */
extern const uint8_t ring0_code_start[], ring0_code_end[];
extern const uint8_t ring3_code_start[], ring3_code_end[];
extern const struct ring0_step ring0_steps[], ring0_steps_end[];
extern const struct ring0_step ring3_steps[], ring3_steps_end[];

const struct ring0_code ring0_code = {
    .start = ring0_code_start,
    .end = ring0_code_end,
    .steps = ring0_steps,
    .steps_end = ring0_steps_end,
};

const struct ring0_code ring3_code = {
    .start = ring3_code_start,
    .end = ring3_code_end,
    .steps = ring3_steps,
    .steps_end = ring3_steps_end,
};

static uint64_t pick(uint8_t place, uint64_t rax, uint64_t rcx)
{
    return place == STEP_IN_RAX ? rax : place == STEP_IN_RCX ? rcx : 0;
}

bool ring0_undo(const struct ring0_code *code, uint64_t offset, uint64_t rax, uint64_t rcx,
                uint64_t *ret_number, uint64_t *ret_return_address)
{
    for (const struct ring0_step *s = code->steps; s < code->steps_end; s++) {
        if (s->offset != offset)
            continue;
        *ret_number = pick(s->number, rax, rcx) + (uint64_t)(int64_t)s->add;
        *ret_return_address = pick(s->ret, rax, rcx);
        return true;
    }
    return false;
}

/* Each of its answers is a step whose number needs no register any more. */
bool ring0_serves(uint64_t number)
{
    for (const struct ring0_step *s = ring3_steps; s < ring3_steps_end; s++) {
        if (s->number == STEP_IN_NO_REG && (uint64_t)s->add == number)
            return true;
    }
    return false;
}
