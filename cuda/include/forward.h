/*
 * The forward pass: tokens in, logits or hidden states out, over weights that someone else keeps in place.
 *
 * `Forward` is what the C entries call; each device kind has one implementation. Failures are CudaError exceptions,
 * which the C entries turn into codes.
 */
#ifndef WORKER_FORWARD_H
#define WORKER_FORWARD_H

#include <cstdint>
#include <memory>
#include <span>

#include "engine.h"
#include "vram_tracker.h"

namespace worker {

class CpuDevice;
class KvCache;

/* One model's forward pass on one device. Not thread-safe: one call of `run` at a time. */
class Forward {
public:
    Forward() = default;
    Forward(const Forward &) = delete;
    Forward &operator=(const Forward &) = delete;
    virtual ~Forward() = default;

    /* Runs the rows in their order, writes their keys and values to the cache and the asked outputs to
     * batch.outputs, chosen tokens to batch.sampled. Any number of rows works; scratch is bounded, as rows are run a few hundred at a time.
     * Throws invalid parameter (a row out of range, outputs too small), out of memory (scratch; the next call may
     * succeed), or cancelled (within about 20 ms of batch.cancel becoming non-zero). After a throw, positions of this
     * batch hold undefined keys and values in the cache; earlier positions are untouched. */
    virtual void run(const engine_batch &batch, KvCache &cache) = 0;

    /* Whether rows may ask for a token instead of logits. */
    virtual bool samples() const noexcept { return false; }

    /* Whether a row gives the same bits as a prompt's and as a decode row, with a cache of this kind (ENGINE_KV_*). */
    virtual bool roles_agree(uint32_t kind) const noexcept = 0;

    /* Bytes of scratch held now; grows with the largest batch so far. */
    virtual uint64_t workspace_bytes() const noexcept = 0;
};

/* Checks that the description makes sense and that every tensor it asks for is there once, with a supported type, the
 * right shape and the right number of bytes. Throws model unsupported (type, size) or model load failed (missing,
 * doubled, misshapen), naming the tensor, what was expected and what was found. Does not read the tensors' data. */
void check_model(const engine_model_description &description, std::span<const engine_tensor> tensors);

/* Does check_model, then builds the CPU's forward pass. Tensor data and the device must outlive it; names are not kept.
 * Scratch is recorded on the device as the owner's intermediate buffers. */
std::unique_ptr<Forward> make_cpu_forward(const engine_model_description &description,
                                          std::span<const engine_tensor> tensors, CpuDevice &device, VramOwner owner);

/* The instruction set that the CPU kernels use: "scalar", "avx2", "avx512", "avx512vnni", "avx512bf16" or "amx"; on ARM "scalar", "neon" or
 * "neon-dotprod". WORKER_CPU_PATH forces one; a value that is unknown or that this CPU lacks is an invalid parameter naming the
 * ones that work. */
const char *cpu_kernel_path();

} // namespace worker

#endif
