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

static const struct ring0_step *find_step(const struct ring0_code *code, uint64_t offset)
{
    for (const struct ring0_step *s = code->steps; s < code->steps_end; s++) {
        if (s->offset == offset)
            return s;
    }
    return NULL;
}

static uint64_t pick(uint8_t place, const struct ring0_call *call)
{
    switch (place) {
    case STEP_IN_RAX:
        return call->rax;
    case STEP_IN_RCX:
        return call->rcx;
    case STEP_IN_R11:
        return call->r11;
    default:
        return 0;
    }
}

enum ring0_undone ring0_undo(const struct ring0_code *code, uint64_t offset,
                             struct exchange_page *page, struct ring0_call *call)
{
    const struct ring0_step *s = find_step(code, offset);
    bool uses_page;

    if (!s)
        return RING0_ELSEWHERE;
    uses_page = s->ret == STEP_IN_PAGE || s->ret == STEP_POSTED || (s->number & RSP_IN_PAGE);
    if (uses_page && !page)
        return RING0_ELSEWHERE; /* the program came there by itself */
    if (s->ret == STEP_POSTED &&
        __atomic_exchange_n(&page->state, EXCHANGE_ANSWERED, __ATOMIC_ACQUIRE) != EXCHANGE_POSTED)
        return RING0_ANSWERED;
    if (s->number & RSP_IN_PAGE)
        call->rsp = READ_ONCE(page->rsp);
    call->number = s->ret == STEP_POSTED
                       ? READ_ONCE(page->rax)
                       : pick(s->number & (uint8_t)~RSP_IN_PAGE, call) + (uint64_t)(int64_t)s->add;
    call->return_address =
        s->ret == STEP_IN_PAGE || s->ret == STEP_POSTED ? READ_ONCE(page->rip) : pick(s->ret, call);
    return RING0_CALL;
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
