/*
 * The registers of a call that is handed over, but for those that each ring has elsewhere by then. SAVE
 * is the including file's: where the exchange page is, and how to undo.
 */
.macro SAVE_REST
    SAVE    rsp, EXCHANGE_RSP
    SAVE    rbx, EXCHANGE_RBX
    SAVE    rdx, EXCHANGE_RDX
    SAVE    rsi, EXCHANGE_RSI
    SAVE    rdi, EXCHANGE_RDI
    SAVE    rbp, EXCHANGE_RBP
    SAVE    r8, EXCHANGE_R8
    SAVE    r9, EXCHANGE_R9
    SAVE    r10, EXCHANGE_R10
    SAVE    r12, EXCHANGE_R12
    SAVE    r13, EXCHANGE_R13
    SAVE    r14, EXCHANGE_R14
    SAVE    r15, EXCHANGE_R15
.endm
