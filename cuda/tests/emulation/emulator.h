/*
 * The emulated device: runs a kernel's threads on the host's processors.
 *
 * Every thread of a block has a stack of its own; one thread runs at a time until it waits for others or returns. Blocks are
 * spread over the host's processors. What a kernel does wrong with barriers and warps ends the launch with a message.
 */
#ifndef WORKER_EMULATION_EMULATOR_H
#define WORKER_EMULATION_EMULATOR_H

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>

#include "gpu/runtime.h"

namespace worker::emulation {

/* Runs the whole grid. Gives what the kernel did wrong, or an empty text. Threads of the host may call this at once. */
std::string run(const gpu::KernelLaunch &launch);

/* Which of the threads that could run goes first. A kernel whose results depend on it lacks a barrier. */
enum class Order { Rising, Falling };
void set_order(Order order) noexcept;

/* ---- what the running thread of the device sees; used by cuda_emulation.h ---- */

struct Index {
    uint32_t x, y, z;
};

struct ThreadView {
    Index thread;
    Index block;
    Index block_size;
    Index grid_size;
    uint32_t lane; /* of its warp */
};

/* Null outside kernels. */
extern thread_local const ThreadView *running_thread __attribute__((tls_model("initial-exec")));

enum class WarpOperation : uint8_t { Synchronise, Shuffle, Ballot, Any, All };

/* Waits for the lanes of the mask, which must all come with this operation and mask. `source` is the lane whose payload a
 * shuffle gives. */
uint64_t exchange(WarpOperation operation, uint32_t mask, uint64_t payload, uint32_t source, const std::source_location &place);
void wait_for_block(const std::source_location &place);

/* Ends the launch with this text, and the thread's place. */
[[noreturn]] void misuse(const char *what, const std::source_location &place);

/* Memory of the blocks that run on this thread of the host; filled with nonsense when a block starts. */
void register_shared(void *address, size_t bytes);

} // namespace worker::emulation

#endif
