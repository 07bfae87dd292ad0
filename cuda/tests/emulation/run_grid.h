/*
 * The door from the emulated runtime to the emulated processor.
 */
#ifndef WORKER_TEST_RUN_GRID_H
#define WORKER_TEST_RUN_GRID_H

#include "gpu/runtime.h"

namespace worker::gpu {

/* Runs every thread of every block, to the end; `launch.call(launch.arguments)` is one thread. Gives what a device would
 * say of a grid it refuses (InvalidValue: more threads, or more shared memory, than a block may have), and of a kernel
 * that does what it must not (LaunchFailure). May be called from several host threads at once. */
Status run_grid(const KernelLaunch &launch) noexcept;

} // namespace worker::gpu

#endif
