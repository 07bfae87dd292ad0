#include "emulation/runtime_emulated.h"

#include "emulation/emulator.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <set>
#include <string>
#include <utility>

namespace worker::emulation {

namespace {

using gpu::CopyKind;
using gpu::MemoryKind;
using gpu::Status;

struct Block {
    size_t bytes;
    MemoryKind kind;
    int32_t device;
    uint64_t number; /* rises */
    bool pinned;     /* by allocate_pinned */
};

struct Fault {
    std::string call;
    int64_t successes = -1;
    Status status = Status::Success;
    Lasting lasting = Lasting::Once;
    bool met = false;
};

struct World {
    std::mutex mutex;
    Machine machine;
    std::map<const char *, Block> blocks; /* by their first byte */
    std::map<int32_t, Status> sticky;     /* by device */
    Status last_error = Status::Success;
    Fault fault;
    MemoryKind kind = MemoryKind::Device;
    std::set<void *> handles[2]; /* streams, events */
    uint64_t next_handle = 1;
    uint64_t memory_requests = 0;
    uint64_t launches = 0;
    uint64_t pointer_questions = 0;
    std::string misuse; /* what the last kernel that failed did wrong */
};

/* Never ended: threads may still free when the process exits. */
World &world() {
    static World *const only = new World;
    return *only;
}

Machine machine_of_environment() {
    Machine machine;
    if (const char *text = std::getenv("WORKER_EMULATED_GPUS")) machine.devices = std::atoi(text);
    if (const char *text = std::getenv("WORKER_EMULATED_GPU_MEMORY")) machine.memory = std::strtoull(text, nullptr, 10);
    return machine;
}

thread_local int32_t current_device = 0;

constexpr uint32_t most_threads = 1024;
constexpr size_t most_shared = 96 << 10;

/* The lock, and what the call shall give whatever it does. */
class Call {
public:
    explicit Call(std::string_view name, int32_t device = current_device) : world_(world()), lock_(world_.mutex) {
        static const bool prepared = (world_.machine = machine_of_environment(), true);
        static_cast<void>(prepared);
        const auto lost = world_.sticky.find(device);
        if (lost != world_.sticky.end()) {
            status_ = lost->second;
            return;
        }
        if (const Fault &fault = world_.fault; fault.successes >= 0 && meant(name)) {
            const bool now = fault.successes == 0;
            if (!now || fault.lasting == Lasting::Once) --world_.fault.successes;
            if (now) {
                status_ = fault.status;
                world_.fault.met = true;
            }
        }
        if (is_sticky(status_)) world_.sticky[device] = status_;
        if (status_ != Status::Success) world_.last_error = status_;
    }

    Status status() const noexcept { return status_; }
    bool fails() const noexcept { return status_ != Status::Success; }
    Status give(Status status) {
        if (status != Status::Success) world_.last_error = status;
        return status;
    }
    World &operator*() noexcept { return world_; }
    World *operator->() noexcept { return &world_; }
    void unlock() { lock_.unlock(); }

private:
    bool meant(std::string_view name) const {
        const std::string &call = world_.fault.call;
        return call == name || call == "any" || (call == "memory" && (name == "allocate" || name == "allocate_pinned"));
    }

    World &world_;
    std::unique_lock<std::mutex> lock_;
    Status status_ = Status::Success;
};

uint64_t bytes_on(const World &world, int32_t device) {
    uint64_t bytes = 0;
    for (const auto &[begin, block] : world.blocks) {
        if (block.device == device && !block.pinned) bytes += block.bytes;
    }
    return bytes;
}

std::map<const char *, Block>::iterator block_at(World &world, const void *address) {
    auto place = world.blocks.upper_bound(static_cast<const char *>(address));
    if (place == world.blocks.begin()) return world.blocks.end();
    --place;
    return static_cast<const char *>(address) < place->first + place->second.bytes ? place : world.blocks.end();
}

/* Whether the whole range is memory that the device may be told to use. */
bool reachable(World &world, const void *address, size_t bytes) {
    const auto place = block_at(world, address);
    if (place == world.blocks.end()) return false;
    const size_t offset = static_cast<size_t>(static_cast<const char *>(address) - place->first);
    return bytes <= place->second.bytes - offset;
}

Status device_count(int32_t *count) {
    Call call("device_count", -1);
    if (call.fails()) return call.status();
    if (call->machine.count_status != Status::Success) return call.give(call->machine.count_status);
    *count = call->machine.devices;
    return Status::Success;
}

bool exists(const World &world, int32_t device) { return device >= 0 && device < world.machine.devices; }

Status device_properties(int32_t device, gpu::DeviceProperties *out) {
    Call call("device_properties");
    if (call.fails()) return call.status();
    if (!exists(*call, device)) return call.give(Status::InvalidDevice);
    *out = gpu::DeviceProperties{};
    std::snprintf(out->name, sizeof out->name, "Emulated GPU %d", device);
    std::snprintf(out->pci_bus, sizeof out->pci_bus, "emulated:%d", device);
    out->total_memory = call->machine.memory;
    out->compute_capability = call->machine.compute_capability;
    out->multiprocessors = 4;
    out->warp_size = 32;
    out->threads_per_block = most_threads;
    out->shared_memory_per_block = 48 << 10;
    out->shared_memory_opt_in = most_shared;
    return Status::Success;
}

Status enter_device(int32_t device, void **previous) {
    *previous = reinterpret_cast<void *>(static_cast<intptr_t>(current_device));
    Call call("enter_device", device);
    if (!exists(*call, device)) return call.give(Status::InvalidDevice);
    current_device = device;
    return call.status();
}

Status leave_device(void *previous) {
    current_device = static_cast<int32_t>(reinterpret_cast<intptr_t>(previous));
    return Status::Success;
}

Status set_malloc_heap_limit(size_t) { return Call("set_malloc_heap_limit").status(); }
Status prefer_l1() { return Call("prefer_l1").status(); }

Status memory_info(size_t *free, size_t *total) {
    Call call("memory_info");
    if (call.fails()) return call.status();
    const uint64_t used = bytes_on(*call, current_device) + call->machine.foreign_memory;
    *total = call->machine.memory;
    *free = call->machine.memory - std::min(used, call->machine.memory);
    return Status::Success;
}

bool process_memory(const char *pci_bus, uint64_t *bytes) {
    const std::lock_guard lock(world().mutex);
    int device = 0;
    if (!world().machine.has_nvml || std::sscanf(pci_bus, "emulated:%d", &device) != 1) return false;
    *bytes = bytes_on(world(), device) + context_bytes;
    return true;
}

Status driver_version(int32_t *version) {
    *version = 13000;
    return Call("driver_version").status();
}
Status runtime_version(int32_t *version) {
    *version = 13000;
    return Call("runtime_version").status();
}

Status take_block(Call &call, void **address, size_t bytes, MemoryKind kind, bool pinned) {
    ++call->memory_requests;
    *address = nullptr;
    if (call.fails()) return call.status();
    if (bytes == 0) return Status::Success;
    const uint64_t used = bytes_on(*call, current_device) + call->machine.foreign_memory;
    if (!pinned && (used > call->machine.memory || bytes > call->machine.memory - used)) return call.give(Status::MemoryAllocation);
    constexpr size_t alignment = 512;
    void *memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    if (memory == nullptr) return call.give(Status::MemoryAllocation);
    std::memset(memory, 0xff, bytes); /* NaN in every type: what is read before it is written shows */
    try {
        call->blocks.emplace(static_cast<const char *>(memory), Block{bytes, kind, current_device, call->memory_requests, pinned});
    } catch (const std::bad_alloc &) {
        std::free(memory);
        return call.give(Status::MemoryAllocation);
    }
    *address = memory;
    return Status::Success;
}

Status allocate(void **address, size_t bytes) {
    Call call("allocate");
    return take_block(call, address, bytes, call->kind, false);
}
Status allocate_pinned(void **address, size_t bytes) {
    Call call("allocate_pinned");
    return take_block(call, address, bytes, MemoryKind::Host, true);
}

/* A lost device's memory is gone with it; here the host's must still be freed. */
Status give_back(std::string_view name, void *address) {
    Call call(name);
    if (address == nullptr) return call.status();
    const auto place = call->blocks.find(static_cast<const char *>(address));
    if (place == call->blocks.end()) return call.give(Status::InvalidValue);
    call->blocks.erase(place);
    std::free(address);
    return call.status();
}
Status release(void *address) { return give_back("release", address); }
Status release_pinned(void *address) { return give_back("release_pinned", address); }

Status pointer_attributes(const void *address, gpu::PointerAttributes *out) {
    Call call("pointer_attributes");
    ++call->pointer_questions;
    if (call.fails()) return call.status();
    const auto place = block_at(*call, address);
    if (place == call->blocks.end()) {
        *out = {MemoryKind::Unregistered, -1, nullptr, address};
        return Status::Success;
    }
    const Block &block = place->second;
    *out = {block.kind, block.device, address, block.kind == MemoryKind::Device ? nullptr : address};
    return Status::Success;
}

bool is_handle(const World &world, int kind, void *handle) { return world.handles[kind].contains(handle); }
constexpr int streams = 0;
constexpr int events = 1;
constexpr Status invalid_handle = static_cast<Status>(400); /* cudaErrorInvalidResourceHandle */

Status copy(void *to, const void *from, size_t bytes, CopyKind kind, gpu::Stream stream) {
    Call call("copy");
    if (call.fails()) return call.status();
    if (!is_handle(*call, streams, stream)) return call.give(invalid_handle);
    const bool to_device = kind != CopyKind::DeviceToHost;
    const bool from_device = kind != CopyKind::HostToDevice;
    if ((to_device && !reachable(*call, to, bytes)) || (from_device && !reachable(*call, from, bytes))) {
        return call.give(Status::InvalidValue);
    }
    std::memmove(to, from, bytes);
    return Status::Success;
}

Status fill(void *address, uint8_t value, size_t bytes, gpu::Stream stream) {
    Call call("fill");
    if (call.fails()) return call.status();
    if (!is_handle(*call, streams, stream)) return call.give(invalid_handle);
    if (!reachable(*call, address, bytes)) return call.give(Status::InvalidValue);
    std::memset(address, value, bytes);
    return Status::Success;
}

Status make_handle(std::string_view name, int kind, void **out) {
    Call call(name);
    *out = nullptr;
    if (call.fails()) return call.status();
    void *const handle = reinterpret_cast<void *>(call->next_handle++ << 4);
    try {
        call->handles[kind].insert(handle);
    } catch (const std::bad_alloc &) {
        return call.give(Status::MemoryAllocation);
    }
    *out = handle;
    return Status::Success;
}
Status end_handle(std::string_view name, int kind, void *handle) {
    Call call(name);
    if (call->handles[kind].erase(handle) == 0) return call.give(invalid_handle);
    return call.status();
}
Status use_handle(std::string_view name, int kind, void *handle) {
    Call call(name);
    if (call.fails()) return call.status();
    return is_handle(*call, kind, handle) ? Status::Success : call.give(invalid_handle);
}

Status create_stream(gpu::Stream *out) { return make_handle("create_stream", streams, out); }
Status destroy_stream(gpu::Stream stream) { return end_handle("destroy_stream", streams, stream); }
Status synchronise_stream(gpu::Stream stream) { return use_handle("synchronise_stream", streams, stream); }
Status create_event(gpu::Event *out) { return make_handle("create_event", events, out); }
Status destroy_event(gpu::Event event) { return end_handle("destroy_event", events, event); }
Status synchronise_event(gpu::Event event) { return use_handle("synchronise_event", events, event); }
Status record_event(gpu::Event event, gpu::Stream stream) {
    Call call("record_event");
    if (call.fails()) return call.status();
    return is_handle(*call, events, event) && is_handle(*call, streams, stream) ? Status::Success : call.give(invalid_handle);
}

Status set_shared_memory_limit(const void *, size_t bytes) {
    Call call("set_shared_memory_limit");
    if (call.fails()) return call.status();
    return bytes <= most_shared ? Status::Success : call.give(Status::InvalidValue);
}

bool fits(const gpu::KernelLaunch &launch) {
    const auto count = [](gpu::Extent extent) { return uint64_t{extent.x} * extent.y * extent.z; };
    return count(launch.block) > 0 && count(launch.block) <= most_threads && launch.block.z <= 64 && launch.grid.y <= 65535 &&
           launch.grid.z <= 65535 && launch.shared_bytes <= most_shared;
}

Status launch(const gpu::KernelLaunch &launch) {
    const int32_t device = current_device;
    {
        Call call("launch");
        ++call->launches;
        if (call.fails()) return call.status();
        if (!is_handle(*call, streams, launch.stream)) return call.give(invalid_handle);
        if (!fits(launch)) return call.give(Status::InvalidConfiguration);
    }
    std::string misuse;
    try {
        misuse = run(launch);
    } catch (const std::bad_alloc &) {
        return Status::MemoryAllocation;
    }
    if (misuse.empty()) return Status::Success;
    /* As on a device: the launch itself has succeeded; whoever waits for the kernel learns of it. */
    const std::lock_guard lock(world().mutex);
    world().sticky[device] = Status::LaunchFailure;
    world().misuse = std::string(launch.name) + ": " + misuse;
    return Status::Success;
}

Status take_last_error() {
    Call call("take_last_error");
    if (call.fails()) return call.status();
    return std::exchange(call->last_error, Status::Success);
}

const char *error_name(Status status) {
    switch (status) {
    case Status::Success: return "cudaSuccess";
    case Status::InvalidValue: return "cudaErrorInvalidValue";
    case Status::MemoryAllocation: return "cudaErrorMemoryAllocation";
    case Status::InsufficientDriver: return "cudaErrorInsufficientDriver";
    case Status::NoDevice: return "cudaErrorNoDevice";
    case Status::InvalidDevice: return "cudaErrorInvalidDevice";
    case Status::IllegalAddress: return "cudaErrorIllegalAddress";
    case Status::LaunchFailure: return "cudaErrorLaunchFailure";
    case Status::Unknown: return "cudaErrorUnknown";
    default: return "cudaErrorOfAnotherKind";
    }
}

const char *error_text(Status status) {
    switch (status) {
    case Status::Success: return "no error";
    case Status::MemoryAllocation: return "out of memory";
    case Status::NoDevice: return "no CUDA-capable device is detected";
    case Status::InsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
    case Status::IllegalAddress: return "an illegal memory access was encountered";
    case Status::LaunchFailure: {
        thread_local std::string text; /* lives until this thread asks again */
        const std::lock_guard lock(world().mutex);
        text = world().misuse.empty() ? "unspecified launch failure" : world().misuse;
        return text.c_str();
    }
    default: return "an emulated error";
    }
}

} // namespace

void reset() {
    const std::lock_guard lock(world().mutex);
    world().machine = machine_of_environment();
    world().sticky.clear();
    world().last_error = Status::Success;
    world().fault = Fault{};
    world().kind = MemoryKind::Device;
    world().misuse.clear();
}

void set_machine(const Machine &machine) {
    static_cast<void>(Call("set_machine")); /* the environment's comes first */
    const std::lock_guard lock(world().mutex);
    world().machine = machine;
}

Machine machine() { return Call("machine")->machine; }

Census census() {
    Call call("census");
    Census census;
    for (const auto &[begin, block] : call->blocks) {
        if (block.pinned) {
            ++census.pinned_blocks;
            continue;
        }
        ++census.device_blocks;
        census.device_bytes += block.bytes;
    }
    census.streams = call->handles[streams].size();
    census.events = call->handles[events].size();
    census.memory_requests = call->memory_requests;
    census.launches = call->launches;
    census.pointer_questions = call->pointer_questions;
    return census;
}

int32_t device_of_thread() { return current_device; }

void fail(std::string_view call, int64_t successes, Status status, Lasting lasting) {
    const std::lock_guard lock(world().mutex);
    world().fault = {std::string(call), successes, status, lasting, false};
}

bool fault_was_met() {
    const std::lock_guard lock(world().mutex);
    return world().fault.met;
}

void set_kind_of_allocations(MemoryKind kind) {
    const std::lock_guard lock(world().mutex);
    world().kind = kind;
}

bool set_kind_of(const void *address, MemoryKind kind) {
    const std::lock_guard lock(world().mutex);
    const auto place = block_at(world(), address);
    if (place == world().blocks.end()) return false;
    place->second.kind = kind;
    return true;
}

bool set_kind_of_block(uint64_t place, MemoryKind kind) {
    const std::lock_guard lock(world().mutex);
    std::map<uint64_t, Block *> in_order;
    for (auto &[begin, block] : world().blocks) {
        if (!block.pinned) in_order.emplace(block.number, &block);
    }
    if (place >= in_order.size()) return false;
    std::next(in_order.begin(), static_cast<std::ptrdiff_t>(place))->second->kind = kind;
    return true;
}

void lose_device(int32_t device, Status status) {
    const std::lock_guard lock(world().mutex);
    world().sticky[device] = status;
}

} // namespace worker::emulation

const worker::gpu::Runtime &worker::gpu::runtime() noexcept {
    using namespace worker::emulation;
    static constexpr Runtime table{
        "emulated",
        device_count, device_properties, enter_device, leave_device, set_malloc_heap_limit, prefer_l1, memory_info, process_memory,
        driver_version, runtime_version,
        allocate, release, allocate_pinned, release_pinned, pointer_attributes,
        copy, fill,
        create_stream, destroy_stream, synchronise_stream, create_event, destroy_event, record_event, synchronise_event,
        set_shared_memory_limit, launch, take_last_error,
        error_name, error_text,
    };
    return table;
}
