/* The emulation itself: barriers, shuffles and votes do what they do on a device, and misuse of them is told. */
#include "gpu/kernels/device_code.h"
#include "kernel_test.h"

namespace {

using worker::gpu::launch;

std::string misuse_of(void (*kernel)(uint32_t *), uint32_t threads) {
    std::vector<uint32_t> memory(2048);
    uint32_t *address = memory.data();
    void *arguments[] = {&address, &kernel};
    return worker::emulation::run({"misuse", reinterpret_cast<const void *>(kernel), worker::gpu::detail::call_kernel<uint32_t *>, arguments, {2}, {threads}});
}

void check_misuse(void (*kernel)(uint32_t *), uint32_t threads, const std::string &fragment) {
    for (const auto order : {worker::emulation::Order::Falling, worker::emulation::Order::Rising}) {
        worker::emulation::set_order(order);
        const std::string text = misuse_of(kernel, threads);
        if (text.find(fragment) == std::string::npos) harness::fail(__FILE__, __LINE__, "\"" + text + "\" lacks \"" + fragment + "\"");
    }
}

__global__ void count_threads(uint32_t *sums) {
    BLOCK_SHARED(uint32_t, of_threads, 1024);
    of_threads[threadIdx.x] = threadIdx.x;
    __syncthreads();
    uint32_t sum = 0;
    if (threadIdx.x == blockDim.x - 1)
        for (uint32_t i = 0; i < blockDim.x; i++) sum += of_threads[i];
    if (threadIdx.x == blockDim.x - 1) sums[blockIdx.x] = sum;
    atomicAdd(sums + gridDim.x, 1u);
}

__global__ void use_warp(uint32_t *results) {
    const uint32_t lane = threadIdx.x % 32;
    uint32_t *own = results + threadIdx.x * 8;
    own[0] = __ballot_sync(0xffffffff, lane % 3 == 0);
    own[1] = __shfl_sync(0xffffffff, lane * 10, 5);
    own[2] = __shfl_down_sync(0xffffffff, lane, 4);
    own[3] = __shfl_up_sync(0xffffffff, lane, 4, 16);
    /* Halves on their own, in different numbers of steps. */
    uint32_t value = lane;
    const uint32_t half = lane / 16, mask = 0xffffu << 16 * half;
    for (uint32_t step = 0; step <= half; step++) value += __shfl_xor_sync(mask, value, 1);
    own[4] = value;
    __syncwarp();
    own[5] = static_cast<uint32_t>(__any_sync(0xffffffff, lane == 31));
    own[6] = static_cast<uint32_t>(__all_sync(0xffffffff, lane < 31));
    own[7] = static_cast<uint32_t>(__shfl_sync(0xffffffff, static_cast<double>(lane) + 0.5, 7) * 2.0);
}

__global__ void index_extents(uint32_t *seen) {
    const uint32_t block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const uint32_t thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    atomicAdd(seen + block * blockDim.x * blockDim.y * blockDim.z + thread, 1u);
}

__global__ void skip_barrier(uint32_t *) {
    if (threadIdx.x != 3) __syncthreads();
}

__global__ void part_at_barriers(uint32_t *) {
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
}

__global__ void part_at_shuffle(uint32_t *results) {
    if (threadIdx.x % 32 < 16)
        results[threadIdx.x] = __shfl_xor_sync(0xffffffff, threadIdx.x, 1);
    else
        __syncthreads();
}

__global__ void leave_before_shuffle(uint32_t *results) {
    if (threadIdx.x == 8) return;
    results[threadIdx.x] = __shfl_xor_sync(0xffffffff, threadIdx.x, 1);
}

__global__ void shuffle_without_oneself(uint32_t *results) { results[threadIdx.x] = __shfl_xor_sync(0xffff, threadIdx.x, 1); }

__global__ void read_outside_the_mask(uint32_t *results) {
    if (threadIdx.x < 16) results[threadIdx.x] = __shfl_sync(0xffff, threadIdx.x, 20);
}

__global__ void differ_in_operation(uint32_t *results) {
    if (threadIdx.x % 2 == 0)
        results[threadIdx.x] = __ballot_sync(0xffffffff, 1);
    else
        results[threadIdx.x] = __shfl_sync(0xffffffff, 1u, 0);
}

__global__ void leave_shared_memory(uint32_t *results) {
    BLOCK_SHARED(uint32_t, few, 4);
    few[threadIdx.x] = 1;
    results[threadIdx.x] = few[0];
}

__global__ void read_unwritten(uint32_t *results) {
    BLOCK_SHARED(uint32_t, never, 4);
    results[blockIdx.x] = never[1];
    __syncthreads();
    never[1] = 1;
}

__global__ void read_crooked_vector(uint32_t *results) {
    struct Four {
        uint32_t values[4];
    };
    results[0] = worker::emulation::checked_vector<Four>(results + threadIdx.x, std::source_location::current()).values[0];
}

} // namespace

TEST(emulated_blocks_share_memory_and_meet_at_barriers) {
    for (const uint32_t threads : {1u, 31u, 64u, 100u, 1024u}) {
        std::vector<uint32_t> sums(65);
        launch("count", count_threads, {64}, {threads}, stream(), sums.data());
        settle();
        for (size_t block = 0; block < 64; block++) CHECK_EQUAL(sums[block], threads * (threads - 1) / 2);
        CHECK_EQUAL(sums[64], 64 * threads);
    }
}

TEST(emulated_warps_shuffle_and_vote) {
    std::vector<uint32_t> results(64 * 8);
    launch("warp", use_warp, {1}, {64}, stream(), results.data());
    settle();
    for (uint32_t thread = 0; thread < 64; thread++) {
        const uint32_t lane = thread % 32, *own = results.data() + size_t{thread} * 8;
        CHECK_EQUAL(own[0], 0x49249249u);
        CHECK_EQUAL(own[1], 50u);
        CHECK_EQUAL(own[2], lane < 28 ? lane + 4 : lane);
        CHECK_EQUAL(own[3], lane % 16 >= 4 ? lane - 4 : lane);
        CHECK_EQUAL(own[4], (lane + (lane ^ 1)) << lane / 16);
        CHECK_EQUAL(own[5], 1u);
        CHECK_EQUAL(own[6], 0u);
        CHECK_EQUAL(own[7], 15u);
    }
}

TEST(emulated_grids_have_three_dimensions) {
    std::vector<uint32_t> seen(2 * 3 * 4 * 5 * 6 * 2);
    launch("indices", index_extents, {2, 3, 4}, {5, 6, 2}, stream(), seen.data());
    settle();
    for (const uint32_t times : seen) CHECK_EQUAL(times, 1u);
}

TEST(misuse_of_the_emulated_device_is_told) {
    check_misuse(skip_barrier, 64, "barrier");
    check_misuse(part_at_barriers, 64, "threads of one block wait at different barriers");
    check_misuse(part_at_shuffle, 64, "no thread can go on: thread 0 is at a warp's operation with mask 4294967295");
    check_misuse(leave_before_shuffle, 64, "returned");
    check_misuse(shuffle_without_oneself, 64, "a thread is not in the mask it gives");
    check_misuse(shuffle_without_oneself, 8, "the mask names lanes that the block does not have");
    check_misuse(read_outside_the_mask, 32, "a shuffle reads lane 20, which is not in the mask");
    check_misuse(differ_in_operation, 32, "lanes of one warp wait for different things");
    check_misuse(leave_shared_memory, 5, "an index beyond a block's shared memory");
    check_misuse(read_crooked_vector, 2, "a vector is read from an address that is no multiple of its size");
    check_misuse(skip_barrier, 1025, "1025 threads per block");
}

TEST(shared_memory_of_the_emulated_device_starts_with_nonsense) {
    std::vector<uint32_t> results(50);
    launch("unwritten", read_unwritten, {50}, {64}, stream(), results.data());
    settle();
    for (const uint32_t value : results) CHECK_EQUAL(value, 0xffffffffu);
}
