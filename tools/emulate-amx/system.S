/* Where the boot sector jumps to, what exceptions and system calls come to, and the stack of all this. */
    .section .text.first, "ax"
    .globl enter_system
enter_system:
    leaq stack_end(%rip), %rsp
    fninit
    call run_system
1:  hlt
    jmp 1b

    .text

/* start_program(entry, stack): as Linux starts a program, but with all rights. */
    .globl start_program
start_program:
    movq %rsi, %rsp
    xorl %edx, %edx /* no function to call at the end */
    xorl %ebp, %ebp
    jmp *%rdi

/* A program's call. All registers but rax, rcx and r11 stay as they are, and so does what lies below its stack pointer. */
    .globl system_call_entry
system_call_entry:
    movq %rsp, program_stack(%rip)
    leaq stack_end(%rip), %rsp
    pushq %r11
    pushq %rcx
    pushq %r9
    pushq %r8
    pushq %r10
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rax /* struct Call */
    movq %rsp, %rdi
    subq $8, %rsp
    call system_call
    addq $16, %rsp
    popq %rdi
    popq %rsi
    popq %rdx
    popq %r10
    popq %r8
    popq %r9
    popq %rcx
    popfq
    movq program_stack(%rip), %rsp
    jmp *%rcx

/* Exceptions, 32 entries of 16 bytes; those with an error code have it on the stack already. */
    .macro exception vector, has_code=0
    .balign 16
    .if \has_code == 0
    pushq $0
    .endif
    pushq $\vector
    jmp report
    .endm
    .balign 16
    .globl exception_entries
exception_entries:
    .altmacro
    .set i, 0
    .rept 32
    .if i == 8 || (i >= 10 && i <= 14) || i == 17 || i == 21 || i == 29 || i == 30
    exception %i, 1
    .else
    exception %i
    .endif
    .set i, i + 1
    .endr
report:
    popq %rdi        /* the vector */
    popq %rsi        /* the error code */
    movq (%rsp), %rdx
    leaq stack_end(%rip), %rsp
    call report_exception

    .bss
    .balign 16
program_stack:
    .skip 16
    .skip 65536
stack_end:
    .section .note.GNU-stack, "", @progbits
