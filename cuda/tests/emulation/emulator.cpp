#include "emulator.h"

#include "fiber.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace worker::emulation {

thread_local const ThreadView *running_thread = nullptr;

namespace {

constexpr uint32_t warp_lanes = 32;
constexpr uint32_t most_threads = 1024; /* of a block, as on every card */

std::atomic<Order> chosen_order{Order::Rising};

/* One thread of the device. */
struct Thread : ThreadView {
    void *stack = nullptr; /* where it was left */
    uint32_t number = 0;   /* within the block */
    std::source_location place; /* of what it waits for */
};

/* The lanes of a warp by what they do; those in none of the sets have returned. With each lane, what it came to an
 * operation with, and what that gave. */
struct Warp {
    uint32_t present = 0;
    uint32_t runnable = 0;
    uint32_t at_operation = 0;
    uint32_t at_barrier = 0;
    uint64_t payloads[warp_lanes] = {};
    uint64_t results[warp_lanes] = {};
    uint32_t masks[warp_lanes] = {};
    uint8_t sources[warp_lanes] = {};
    WarpOperation operations[warp_lanes] = {};

    uint32_t returned() const { return present & ~(runnable | at_operation | at_barrier); }
};

/* Runs blocks, one after the other, on one processor of the host. */
class BlockRunner {
public:
    explicit BlockRunner(const gpu::KernelLaunch &launch);
    ~BlockRunner() { give_back(std::move(stacks_)); }
    BlockRunner(const BlockRunner &) = delete;
    BlockRunner &operator=(const BlockRunner &) = delete;

    /* Gives what went wrong, or an empty text. */
    std::string run(uint64_t block);

    uint64_t exchange(WarpOperation operation, uint32_t mask, uint64_t payload, uint32_t source, const std::source_location &place);
    void wait_for_block(const std::source_location &place);
    [[noreturn]] void fail(std::string what, const std::source_location *place);

private:
    static void thread_main();
    [[noreturn]] void thread_returned();
    void complete(Warp &warp, uint32_t mask, WarpOperation operation);
    /* Leaves the running thread for another that can run; comes back when it is this one's turn. */
    void let_others_run();
    Thread *next_runnable();
    void enter(Thread &thread);
    [[noreturn]] void leave_block();
    std::string waiting_threads() const;
    std::string describe(const Thread &thread) const;

    const gpu::KernelLaunch &launch_;
    const uint32_t count_;
    const bool falling_;
    std::unique_ptr<Stacks> stacks_ = borrow_stacks();
    std::vector<Thread> threads_;
    std::vector<Warp> warps_;
    Thread *running_ = nullptr;
    void *host_stack_ = nullptr;
    uint32_t arrived_ = 0; /* at the block's barrier */
    uint32_t returned_ = 0;
    std::string failure_;
};

thread_local BlockRunner *runner __attribute__((tls_model("initial-exec"))) = nullptr;

struct SharedRange {
    void *address;
    size_t bytes;
};

std::vector<SharedRange> &shared_ranges() {
    static thread_local std::vector<SharedRange> ranges;
    return ranges;
}

/* Numbers that are none, and indices beyond everything. */
void forget(const SharedRange &range) { std::memset(range.address, 0xff, range.bytes); }

uint32_t volume(const gpu::Extent &extent) { return extent.x * extent.y * extent.z; }

Index index_of(uint64_t number, const gpu::Extent &extent) {
    return {static_cast<uint32_t>(number % extent.x), static_cast<uint32_t>(number / extent.x % extent.y),
            static_cast<uint32_t>(number / extent.x / extent.y)};
}

std::string text_of(const Index &index) {
    return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) + ")";
}

BlockRunner::BlockRunner(const gpu::KernelLaunch &launch)
    : launch_(launch), count_(volume(launch.block)), falling_(chosen_order.load(std::memory_order_relaxed) == Order::Falling), threads_(count_),
      warps_((count_ + warp_lanes - 1) / warp_lanes) {
    stacks_->reserve(count_);
    for (uint32_t number = 0; number < count_; number++) {
        Thread &thread = threads_[number];
        thread.number = number;
        thread.lane = number % warp_lanes;
        thread.thread = index_of(number, launch.block);
        thread.block_size = {launch.block.x, launch.block.y, launch.block.z};
        thread.grid_size = {launch.grid.x, launch.grid.y, launch.grid.z};
        warps_[number / warp_lanes].present |= 1u << number % warp_lanes;
    }
}

std::string BlockRunner::run(uint64_t block) {
    const uint64_t blocks = uint64_t{launch_.grid.x} * launch_.grid.y * launch_.grid.z;
    const Index index = index_of(falling_ ? blocks - 1 - block : block, launch_.grid);
    for (Thread &thread : threads_) {
        thread.block = index;
        thread.stack = fresh_stack(stacks_->top(thread.number), thread_main);
    }
    for (Warp &warp : warps_) warp.runnable = warp.present, warp.at_operation = warp.at_barrier = 0;
    for (const SharedRange &range : shared_ranges()) forget(range);
    arrived_ = returned_ = 0;
    running_ = nullptr;

    BlockRunner *const outer = runner;
    runner = this;
    Thread *const first = next_runnable();
    running_ = first;
    running_thread = first;
    worker_emulation_switch(&host_stack_, first->stack);
    running_thread = nullptr;
    runner = outer;
    return failure_;
}

void BlockRunner::thread_main() {
    BlockRunner &self = *runner;
    self.launch_.call(self.launch_.arguments);
    self.thread_returned();
}

void BlockRunner::thread_returned() {
    Warp &warp = warps_[running_->number / warp_lanes];
    warp.runnable &= ~(1u << running_->number % warp_lanes);
    if (++returned_ == count_) leave_block();
    if (arrived_ != 0) fail("a thread has returned while others wait at a barrier of the block: " + waiting_threads(), nullptr);
    let_others_run();
    __builtin_unreachable();
}

uint64_t BlockRunner::exchange(WarpOperation operation, uint32_t mask, uint64_t payload, uint32_t source, const std::source_location &place) {
    Thread &self = *running_;
    Warp &warp = warps_[self.number / warp_lanes];
    const uint32_t bit = 1u << self.lane;
    if ((mask & bit) == 0) fail("a thread is not in the mask it gives", &place);
    if ((mask & ~warp.present) != 0) fail("the mask names lanes that the block does not have", &place);
    if ((mask & warp.returned()) != 0) fail("the mask names lanes that have returned", &place);
    self.place = place;
    if (operation == WarpOperation::Shuffle && (mask >> source & 1) == 0)
        fail("a shuffle reads lane " + std::to_string(source) + ", which is not in the mask", &place);
    warp.operations[self.lane] = operation;
    warp.masks[self.lane] = mask;
    warp.payloads[self.lane] = payload;
    warp.sources[self.lane] = static_cast<uint8_t>(source);
    warp.runnable &= ~bit;
    warp.at_operation |= bit;
    if ((warp.at_operation & mask) == mask)
        complete(warp, mask, operation);
    else
        let_others_run();
    return warp.results[self.lane];
}

/* The last lane gives all of them their results, so that none can overtake another's. */
void BlockRunner::complete(Warp &warp, uint32_t mask, WarpOperation operation) {
    const auto each = [mask](const auto &action) {
        for (uint32_t rest = mask; rest != 0; rest &= rest - 1) action(static_cast<uint32_t>(std::countr_zero(rest)));
    };
    uint32_t different = 0, votes = 0;
    each([&](uint32_t lane) {
        different |= uint32_t{warp.masks[lane] != mask || warp.operations[lane] != operation} << lane;
        votes |= uint32_t{warp.payloads[lane] != 0} << lane;
    });
    if (different != 0) {
        const Thread &other = threads_[running_->number / warp_lanes * warp_lanes + static_cast<uint32_t>(std::countr_zero(different))];
        fail("lanes of one warp wait for different things: " + describe(other), &running_->place);
    }
    if (operation == WarpOperation::Shuffle) {
        each([&](uint32_t lane) { warp.results[lane] = warp.payloads[warp.sources[lane]]; });
    } else {
        const uint64_t result = operation == WarpOperation::Any ? votes != 0 : operation == WarpOperation::All ? votes == mask : votes;
        each([&](uint32_t lane) { warp.results[lane] = result; });
    }
    warp.at_operation &= ~mask;
    warp.runnable |= mask;
}

void BlockRunner::wait_for_block(const std::source_location &place) {
    Thread &self = *running_;
    if (returned_ != 0) fail("a thread waits at a barrier of the block after others have returned", &place);
    Warp &warp = warps_[self.number / warp_lanes];
    const uint32_t bit = 1u << self.number % warp_lanes;
    self.place = place;
    warp.runnable &= ~bit;
    warp.at_barrier |= bit;
    if (++arrived_ < count_) return let_others_run();
    for (const Thread &thread : threads_)
        if (thread.place.line() != place.line() || std::strcmp(thread.place.file_name(), place.file_name()) != 0)
            fail("threads of one block wait at different barriers: " + describe(thread), &place);
    arrived_ = 0;
    for (Warp &each : warps_) each.runnable = each.at_barrier, each.at_barrier = 0;
}

void BlockRunner::let_others_run() {
    Thread *const next = next_runnable();
    if (next == nullptr) fail("no thread can go on: " + waiting_threads(), nullptr);
    enter(*next);
}

/* The neighbour first, then the rest of its warp, then the other warps. */
Thread *BlockRunner::next_runnable() {
    const auto warps = static_cast<uint32_t>(warps_.size());
    const auto lowest = [](uint32_t set) { return static_cast<uint32_t>(std::countr_zero(set)); };
    const auto highest = [](uint32_t set) { return 31u - static_cast<uint32_t>(std::countl_zero(set)); };
    uint32_t number = falling_ ? warps - 1 : 0;
    if (running_ != nullptr) {
        number = running_->number / warp_lanes;
        const uint32_t lane = running_->number % warp_lanes, set = warps_[number].runnable;
        const uint32_t below = (1u << lane) - 1, onward = set & (falling_ ? below : ~(below << 1 | 1));
        if (onward != 0) return &threads_[number * warp_lanes + (falling_ ? highest(onward) : lowest(onward))];
    }
    for (uint32_t i = 0; i < warps; i++, number = falling_ ? (number + warps - 1) % warps : (number + 1) % warps)
        if (const uint32_t set = warps_[number].runnable; set != 0) return &threads_[number * warp_lanes + (falling_ ? highest(set) : lowest(set))];
    return nullptr;
}

void BlockRunner::enter(Thread &thread) {
    Thread &left = *running_;
    running_ = &thread;
    running_thread = &thread;
    worker_emulation_switch(&left.stack, thread.stack);
}

/* The stacks of threads that have not returned are given up as they are: kernels keep nothing that needs an end. */
void BlockRunner::leave_block() {
    void *nowhere;
    worker_emulation_switch(&nowhere, host_stack_);
    __builtin_unreachable();
}

void BlockRunner::fail(std::string what, const std::source_location *place) {
    failure_ = "block " + text_of(running_->block) + ", thread " + text_of(running_->thread);
    if (place != nullptr) failure_ += ", " + std::string(place->file_name()) + ":" + std::to_string(place->line());
    failure_ += ": " + what;
    std::string().swap(what); /* as the stack is never unwound */
    leave_block();
}

std::string BlockRunner::describe(const Thread &thread) const {
    const Warp &warp = warps_[thread.number / warp_lanes];
    const uint32_t bit = 1u << thread.number % warp_lanes;
    std::string text = "thread " + std::to_string(thread.number);
    if ((warp.at_barrier & bit) != 0)
        text += " is at a barrier";
    else if ((warp.at_operation & bit) != 0)
        text += " is at a warp's operation with mask " + std::to_string(warp.masks[thread.number % warp_lanes]);
    else
        return text;
    return text + " (line " + std::to_string(thread.place.line()) + ")";
}

/* One of each warp and kind. */
std::string BlockRunner::waiting_threads() const {
    std::string text;
    for (uint32_t number = 0; number < warps_.size(); number++)
        for (const uint32_t set : {warps_[number].at_operation, warps_[number].at_barrier})
            if (set != 0) text += (text.empty() ? "" : ", ") + describe(threads_[number * warp_lanes + static_cast<uint32_t>(std::countr_zero(set))]);
    return text;
}

std::string unsupported(const gpu::KernelLaunch &launch) {
    const uint64_t threads = uint64_t{launch.block.x} * launch.block.y * launch.block.z;
    if (threads == 0 || threads > most_threads || launch.block.z > 64) return std::to_string(threads) + " threads per block";
    if (launch.grid.x > 0x7fffffff || launch.grid.y > 0xffff || launch.grid.z > 0xffff) return "a grid that is too large";
    if (launch.shared_bytes != 0) return "dynamic shared memory, which is not emulated";
    return {};
}

} // namespace

std::string run(const gpu::KernelLaunch &launch) {
    if (const std::string reason = unsupported(launch); !reason.empty()) return reason;
    const uint64_t blocks = uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
    std::atomic<uint64_t> next{0};
    std::mutex mutex;
    std::string failure;
    const auto work = [&] {
        std::string text;
        try {
            BlockRunner blocks_of_this_host_thread(launch);
            constexpr uint64_t at_once = 4;
            for (uint64_t first; text.empty() && (first = next.fetch_add(at_once)) < blocks;)
                for (uint64_t block = first; text.empty() && block < std::min(blocks, first + at_once); block++) text = blocks_of_this_host_thread.run(block);
        } catch (const std::exception &error) {
            text = std::string("the emulation failed: ") + error.what();
        }
        if (text.empty()) return;
        next = blocks; /* nobody else begins another */
        const std::lock_guard lock(mutex);
        failure = text;
    };
    /* Starting host threads takes as long as running some thousand of the device's. */
    constexpr uint64_t worth_sharing = 16384;
    const uint64_t processors = blocks * volume(launch.block) < worth_sharing ? 1 : std::min<uint64_t>({std::thread::hardware_concurrency(), blocks, 8});
    std::vector<std::jthread> others;
    for (uint64_t i = 1; i < processors; i++) others.emplace_back(work);
    work();
    others.clear();
    return failure;
}

void set_order(Order order) noexcept { chosen_order.store(order, std::memory_order_relaxed); }

uint64_t exchange(WarpOperation operation, uint32_t mask, uint64_t payload, uint32_t source, const std::source_location &place) {
    return runner->exchange(operation, mask, payload, source, place);
}

void wait_for_block(const std::source_location &place) { runner->wait_for_block(place); }

void misuse(const char *what, const std::source_location &place) { runner->fail(what, &place); }

void register_shared(void *address, size_t bytes) {
    shared_ranges().push_back({address, bytes});
    forget(shared_ranges().back());
}

} // namespace worker::emulation
