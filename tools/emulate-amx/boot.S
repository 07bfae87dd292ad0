/*
 * The boot sector: from 16-bit to 64-bit mode with the first gigabyte mapped as it lies, and on to the system, which the
 * emulator has put at 1 MiB.
 */
    .set page_tables, 0x9000
    .set system, 0x100000

    .code16
    .globl _start
_start:
    cli
    cld
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7c00, %sp

    inb $0x92, %al          /* addresses of more than 20 bits */
    orb $2, %al
    outb %al, $0x92
    movb $0xff, %al         /* no interrupt from any device */
    outb %al, $0x21
    outb %al, $0xa1

    movw $page_tables, %di  /* three levels of tables, a page each */
    xorl %eax, %eax
    movw $0xc00, %cx
    rep stosl
    movl $page_tables + 0x1003, page_tables
    movl $page_tables + 0x2003, page_tables + 0x1000
    movw $page_tables + 0x2000, %di
    movl $0x83, %eax        /* 512 pages of 2 MiB, present and writable */
    movw $512, %cx
1:  movl %eax, (%di)
    addl $0x200000, %eax
    addw $8, %di
    loop 1b

    movl $page_tables, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x20, %eax         /* PAE */
    movl %eax, %cr4
    movl $0xc0000080, %ecx  /* EFER: long mode, and the syscall instruction */
    rdmsr
    orl $0x101, %eax
    wrmsr
    lgdt descriptors
    movl %cr0, %eax
    orl $0x80000001, %eax   /* paging and protection */
    movl %eax, %cr0
    ljmpl $8, $long_mode

    .code64
long_mode:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    xorl %eax, %eax
    movw %ax, %fs
    movw %ax, %gs
    movl $system, %eax
    jmp *%rax

    .balign 8
table:
    .quad 0, 0x00af9a000000ffff, 0x00cf92000000ffff
descriptors:
    .word descriptors - table - 1
    .long table

    .org 510
    .word 0xaa55
