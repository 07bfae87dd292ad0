/*
 * The part of CUDA's device language that our kernels use, as C++: see README.md for what this does not cover.
 *
 * What is missing here does not compile, and so cannot be used by mistake: floating-point atomics, for one.
 */
#ifndef WORKER_EMULATION_CUDA_EMULATION_H
#define WORKER_EMULATION_CUDA_EMULATION_H

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

#include "emulator.h"
#include "half.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

#define threadIdx (::worker::emulation::running_thread->thread)
#define blockIdx (::worker::emulation::running_thread->block)
#define blockDim (::worker::emulation::running_thread->block_size)
#define gridDim (::worker::emulation::running_thread->grid_size)
#define warpSize 32

namespace worker::emulation {

/* A block's own array; every element outside of it ends the launch. */
template <typename Value, size_t count> class SharedArray {
public:
    static_assert(std::is_trivially_copyable_v<Value>);
    SharedArray() { register_shared(values_, sizeof values_); }
    SharedArray(const SharedArray &) = delete;
    SharedArray &operator=(const SharedArray &) = delete;

    Value &operator[](size_t index) {
        if (index >= count) misuse("an index beyond a block's shared memory", std::source_location::current());
        return values_[index];
    }

private:
    Value values_[count]; /* not initialised, as on the device */
};

template <typename Value> uint64_t to_payload(Value value) {
    static_assert(std::is_trivially_copyable_v<Value> && sizeof(Value) <= sizeof(uint64_t));
    uint64_t payload = 0;
    std::memcpy(&payload, &value, sizeof value);
    return payload;
}

template <typename Value> Value from_payload(uint64_t payload) {
    Value value;
    std::memcpy(&value, &payload, sizeof value);
    return value;
}

template <typename Value> Value shuffle(uint32_t mask, Value value, uint32_t source, const std::source_location &place) {
    return from_payload<Value>(exchange(WarpOperation::Shuffle, mask, to_payload(value), source, place));
}

/* A vector's address must be a multiple of its size; anything else is a fault on the device. */
template <typename Vector> const Vector &checked_vector(const void *address, const std::source_location &place) {
    if (reinterpret_cast<uintptr_t>(address) % sizeof(Vector) != 0) misuse("a vector is read from an address that is no multiple of its size", place);
    return *static_cast<const Vector *>(address);
}

} // namespace worker::emulation

/* ---- barriers, votes, shuffles ---- */

inline void __syncthreads(std::source_location place = std::source_location::current()) { worker::emulation::wait_for_block(place); }

inline void __syncwarp(uint32_t mask = 0xffffffff, std::source_location place = std::source_location::current()) {
    worker::emulation::exchange(worker::emulation::WarpOperation::Synchronise, mask, 0, 0, place);
}

inline uint32_t __ballot_sync(uint32_t mask, int holds, std::source_location place = std::source_location::current()) {
    return static_cast<uint32_t>(worker::emulation::exchange(worker::emulation::WarpOperation::Ballot, mask, holds != 0, 0, place));
}

inline int __any_sync(uint32_t mask, int holds, std::source_location place = std::source_location::current()) {
    return static_cast<int>(worker::emulation::exchange(worker::emulation::WarpOperation::Any, mask, holds != 0, 0, place));
}

inline int __all_sync(uint32_t mask, int holds, std::source_location place = std::source_location::current()) {
    return static_cast<int>(worker::emulation::exchange(worker::emulation::WarpOperation::All, mask, holds != 0, 0, place));
}

/* Lanes count within parts of `width` lanes; a lane beyond its part gives the asking lane's own value. */
template <typename Value>
Value __shfl_sync(uint32_t mask, Value value, int lane, int width = 32, std::source_location place = std::source_location::current()) {
    const uint32_t own = worker::emulation::running_thread->lane, parts = static_cast<uint32_t>(width);
    return worker::emulation::shuffle(mask, value, own / parts * parts + static_cast<uint32_t>(lane) % parts, place);
}

template <typename Value>
Value __shfl_xor_sync(uint32_t mask, Value value, int bits, int width = 32, std::source_location place = std::source_location::current()) {
    const uint32_t own = worker::emulation::running_thread->lane, parts = static_cast<uint32_t>(width), source = own ^ static_cast<uint32_t>(bits);
    return worker::emulation::shuffle(mask, value, source / parts > own / parts ? own : source, place);
}

template <typename Value>
Value __shfl_down_sync(uint32_t mask, Value value, unsigned distance, int width = 32, std::source_location place = std::source_location::current()) {
    const uint32_t own = worker::emulation::running_thread->lane, parts = static_cast<uint32_t>(width);
    return worker::emulation::shuffle(mask, value, own % parts + distance < parts ? own + distance : own, place);
}

template <typename Value>
Value __shfl_up_sync(uint32_t mask, Value value, unsigned distance, int width = 32, std::source_location place = std::source_location::current()) {
    const uint32_t own = worker::emulation::running_thread->lane, parts = static_cast<uint32_t>(width);
    return worker::emulation::shuffle(mask, value, own % parts >= distance ? own - distance : own, place);
}

/* ---- memory ---- */

inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

/* Blocks run on several of the host's threads, so these are atomic there too. */
template <typename Integer, typename Other> Integer atomicAdd(Integer *address, Other value) {
    static_assert(std::is_integral_v<Integer>, "sums of floating-point numbers would depend on the order of the threads");
    return __atomic_fetch_add(address, static_cast<Integer>(value), __ATOMIC_RELAXED);
}

template <typename Integer> Integer atomicOr(Integer *address, std::type_identity_t<Integer> value) {
    return __atomic_fetch_or(address, value, __ATOMIC_RELAXED);
}

template <typename Integer> Integer atomicExch(Integer *address, std::type_identity_t<Integer> value) {
    return __atomic_exchange_n(address, value, __ATOMIC_RELAXED);
}

template <typename Integer> Integer atomicCAS(Integer *address, std::type_identity_t<Integer> expected, std::type_identity_t<Integer> value) {
    __atomic_compare_exchange_n(address, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return expected;
}

template <typename Integer> Integer atomicMax(Integer *address, std::type_identity_t<Integer> value) {
    static_assert(std::is_integral_v<Integer>);
    Integer old = __atomic_load_n(address, __ATOMIC_RELAXED);
    while (old < value && !__atomic_compare_exchange_n(address, &old, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
    return old;
}

template <typename Integer> Integer atomicMin(Integer *address, std::type_identity_t<Integer> value) {
    static_assert(std::is_integral_v<Integer>);
    Integer old = __atomic_load_n(address, __ATOMIC_RELAXED);
    while (old > value && !__atomic_compare_exchange_n(address, &old, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
    return old;
}

/* ---- numbers ---- */

inline uint32_t __float_as_uint(float value) { return std::bit_cast<uint32_t>(value); }
inline float __uint_as_float(uint32_t bits) { return std::bit_cast<float>(bits); }
inline int __float_as_int(float value) { return std::bit_cast<int>(value); }
inline float __int_as_float(int bits) { return std::bit_cast<float>(bits); }
inline long long __double_as_longlong(double value) { return std::bit_cast<long long>(value); }
inline int __popc(uint32_t value) { return std::popcount(value); }
inline int __popcll(unsigned long long value) { return std::popcount(value); }
inline int __ffs(int value) { return value == 0 ? 0 : std::countr_zero(static_cast<uint32_t>(value)) + 1; }
inline int __clz(int value) { return std::countl_zero(static_cast<uint32_t>(value)); }
inline int __clzll(long long value) { return std::countl_zero(static_cast<unsigned long long>(value)); }
inline uint32_t __umulhi(uint32_t a, uint32_t b) { return static_cast<uint32_t>(uint64_t{a} * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    __extension__ typedef unsigned __int128 Wide;
    return static_cast<unsigned long long>(static_cast<Wide>(a) * b >> 64);
}

using std::fabs;
using std::isfinite;
using std::isinf;
using std::isnan;

template <typename Number> Number min(Number a, std::type_identity_t<Number> b) { return b < a ? b : a; }
template <typename Number> Number max(Number a, std::type_identity_t<Number> b) { return a < b ? b : a; }

#endif
