#include "gpu/memory_pool.h"

#include "gpu/runtime.h"

#include <iterator>

namespace worker::gpu {

namespace {

constexpr size_t slab_bytes = size_t{2} << 20; /* what the driver hands out at least */
constexpr size_t largest_in_slab = slab_bytes / 8;
constexpr size_t granule = 256;                /* cudaMalloc's own alignment */

constexpr uintptr_t round_up(uintptr_t value, size_t to) { return (value + to - 1) & ~uintptr_t{to - 1}; }

void *from_device(size_t bytes) noexcept {
    void *address = nullptr;
    if (runtime().allocate(&address, bytes) == Status::Success) return address;
    /* The failure is the caller's to report; a later call must not find it again. */
    static_cast<void>(runtime().take_last_error());
    return nullptr;
}

void to_device(uintptr_t address) noexcept { static_cast<void>(runtime().release(reinterpret_cast<void *>(address))); }

/* Owns what the device gave until it stands in the books. */
struct Holding {
    uintptr_t address;
    ~Holding() {
        if (address != 0) to_device(address);
    }
};

} // namespace

void MemoryPool::release_all() noexcept {
    const std::lock_guard lock(mutex_);
    for (const auto &[begin, slab] : slabs_) to_device(begin);
    for (const auto &[block, begin] : alone_) to_device(begin);
    slabs_.clear();
    alone_.clear();
}

void *MemoryPool::allocate(size_t bytes, size_t alignment) noexcept {
    try {
        const std::lock_guard lock(mutex_);
        if (bytes > largest_in_slab || alignment > largest_in_slab) return allocate_alone(bytes, alignment);
        return allocate_in_slab(bytes, alignment);
    } catch (...) {
        return nullptr; /* no memory for the books */
    }
}

void *MemoryPool::allocate_alone(size_t bytes, size_t alignment) {
    const size_t extra = alignment > granule ? alignment : 0;
    if (bytes > SIZE_MAX - extra) return nullptr;
    Holding holding{reinterpret_cast<uintptr_t>(from_device(bytes + extra))};
    if (holding.address == 0) return nullptr;
    const Address block = extra == 0 ? holding.address : round_up(holding.address, alignment);
    alone_.emplace(block, holding.address);
    holding.address = 0;
    return reinterpret_cast<void *>(block);
}

void *MemoryPool::allocate_in_slab(size_t bytes, size_t alignment) {
    const size_t length = round_up(bytes, granule);
    for (auto &[begin, slab] : slabs_) {
        if (const Address block = take(slab, length, alignment); block != 0) return reinterpret_cast<void *>(block);
    }
    Holding holding{reinterpret_cast<uintptr_t>(from_device(slab_bytes))};
    if (holding.address == 0) return nullptr;
    Slab slab;
    slab.free.emplace(holding.address, slab_bytes);
    const Address block = take(slab, length, alignment);
    slabs_.emplace(holding.address, std::move(slab));
    holding.address = 0;
    return reinterpret_cast<void *>(block);
}

MemoryPool::Address MemoryPool::take(Slab &slab, size_t bytes, size_t alignment) {
    for (auto place = slab.free.begin(); place != slab.free.end(); ++place) {
        const auto [begin, length] = *place;
        const Address block = round_up(begin, alignment);
        if (block + bytes > begin + length) continue;
        slab.used.emplace(block, bytes);
        const size_t after = begin + length - (block + bytes);
        try {
            if (after != 0) slab.free.emplace(block + bytes, after);
        } catch (...) {
            slab.used.erase(block);
            throw;
        }
        if (block == begin) {
            slab.free.erase(place);
        } else {
            place->second = block - begin;
        }
        return block;
    }
    return 0;
}

void MemoryPool::deallocate(void *address) noexcept {
    const Address block = reinterpret_cast<Address>(address);
    const std::lock_guard lock(mutex_);
    if (const auto place = alone_.find(block); place != alone_.end()) {
        to_device(place->second);
        alone_.erase(place);
        return;
    }
    auto slab = slabs_.upper_bound(block);
    if (slab == slabs_.begin()) return;
    --slab;
    const auto used = slab->second.used.find(block);
    if (used == slab->second.used.end()) return;
    if (slab->second.used.size() == 1) {
        to_device(slab->first);
        slabs_.erase(slab);
        return;
    }
    give_back(slab->second, used);
}

/* The node moves from one map to the other, so that nothing is allocated. */
void MemoryPool::give_back(Slab &slab, std::map<Address, size_t>::iterator block) noexcept {
    auto place = slab.free.insert(slab.used.extract(block)).position;
    if (const auto next = std::next(place); next != slab.free.end() && place->first + place->second == next->first) {
        place->second += next->second;
        slab.free.erase(next);
    }
    if (place != slab.free.begin()) {
        const auto before = std::prev(place);
        if (before->first + before->second == place->first) {
            before->second += place->second;
            slab.free.erase(place);
        }
    }
}

} // namespace worker::gpu
