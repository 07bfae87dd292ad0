/*
 * Stacks to switch between, in a few instructions: what the emulated device's threads run on.
 */
#ifndef WORKER_EMULATION_FIBER_H
#define WORKER_EMULATION_FIBER_H

#include <cstddef>
#include <memory>
#include <vector>

namespace worker::emulation {

/* Leaves the running stack, keeping its place in *saved, for the one kept as `next`. */
extern "C" void worker_emulation_switch(void **saved, void *next);

/* A place that worker_emulation_switch() enters `entry` from, on an empty stack that ends at `top`. Entry never returns. */
void *fresh_stack(std::byte *top, void (*entry)());

/* Stacks of one size, each with a page below it that must not be touched. */
class Stacks {
public:
    Stacks() = default;
    Stacks(const Stacks &) = delete;
    Stacks &operator=(const Stacks &) = delete;
    ~Stacks();

    /* Makes there be so many. Throws std::bad_alloc. */
    void reserve(size_t count);
    /* The upper end of a stack. */
    std::byte *top(size_t number) const;

private:
    std::vector<std::byte *> groups_;
};

/* Stacks are dear to make: this lends out those that an earlier launch made. */
std::unique_ptr<Stacks> borrow_stacks();
void give_back(std::unique_ptr<Stacks> stacks);

} // namespace worker::emulation

#endif
