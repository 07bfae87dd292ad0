#include "fiber.h"

#include <cstdint>
#include <mutex>
#include <new>

#include <sys/mman.h>

#if defined(__x86_64__)
asm(R"(
.text
.globl worker_emulation_switch
.hidden worker_emulation_switch
.type worker_emulation_switch, @function
worker_emulation_switch:
    endbr64
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size worker_emulation_switch, .-worker_emulation_switch
)");
#elif defined(__aarch64__)
asm(R"(
.text
.globl worker_emulation_switch
.hidden worker_emulation_switch
.type worker_emulation_switch, %function
worker_emulation_switch:
    sub sp, sp, #160
    stp x19, x20, [sp]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
.size worker_emulation_switch, .-worker_emulation_switch
)");
#else
#error "the emulated device needs a stack switch for this processor"
#endif

namespace worker::emulation {

namespace {

constexpr size_t stack_bytes = 64 * 1024;
constexpr size_t guard_bytes = 64 * 1024; /* a whole page, whatever its size */
constexpr size_t group_stacks = 32;
constexpr size_t group_bytes = group_stacks * (stack_bytes + guard_bytes);

/* Never destroyed: launches may outlive static objects when a process ends. */
struct Idle {
    std::mutex mutex;
    std::vector<std::unique_ptr<Stacks>> stacks;
};

Idle &idle() {
    static Idle &place = *std::make_unique<Idle>().release();
    return place;
}

} // namespace

void *fresh_stack(std::byte *top, void (*entry)()) {
    auto *words = reinterpret_cast<uintptr_t *>(top);
#if defined(__x86_64__)
    /* Six registers, the entry, and a return address that nothing returns to. */
    words[-1] = 0;
    words[-2] = reinterpret_cast<uintptr_t>(entry);
    for (int i = 3; i <= 8; i++) words[-i] = 0;
    return words - 8;
#else
    /* Twenty registers; x29 and x30, the return address, are the eleventh and twelfth. */
    for (int i = 1; i <= 20; i++) words[-i] = 0;
    words[-20 + 11] = reinterpret_cast<uintptr_t>(entry);
    return words - 20;
#endif
}

Stacks::~Stacks() {
    for (std::byte *group : groups_) munmap(group, group_bytes);
}

void Stacks::reserve(size_t count) {
    groups_.reserve((count + group_stacks - 1) / group_stacks);
    while (groups_.size() * group_stacks < count) {
        void *group = mmap(nullptr, group_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (group == MAP_FAILED) throw std::bad_alloc();
        groups_.push_back(static_cast<std::byte *>(group));
        for (size_t i = 0; i < group_stacks; i++)
            if (mprotect(groups_.back() + i * (stack_bytes + guard_bytes) + guard_bytes, stack_bytes, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
    }
}

std::byte *Stacks::top(size_t number) const {
    /* Ends at different lines of the cache, which all stacks would otherwise share. */
    const size_t stagger = number % 32 * 192;
    return groups_[number / group_stacks] + (number % group_stacks + 1) * (stack_bytes + guard_bytes) - stagger;
}

std::unique_ptr<Stacks> borrow_stacks() {
    Idle &place = idle();
    const std::lock_guard lock(place.mutex);
    if (place.stacks.empty()) return std::make_unique<Stacks>();
    std::unique_ptr<Stacks> stacks = std::move(place.stacks.back());
    place.stacks.pop_back();
    return stacks;
}

void give_back(std::unique_ptr<Stacks> stacks) {
    Idle &place = idle();
    const std::lock_guard lock(place.mutex);
    place.stacks.push_back(std::move(stacks));
}

} // namespace worker::emulation
