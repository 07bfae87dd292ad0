/*
 * The ledger of a device's memory: every allocation with its purpose and its owner.
 */
#ifndef WORKER_VRAM_TRACKER_H
#define WORKER_VRAM_TRACKER_H

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace worker {

enum class VramPurpose : uint32_t { ModelWeights = 0, KVCache = 1, IntermediateBuffers = 2, Unknown = 3 };
constexpr size_t vram_purposes = 4;

const char *vram_purpose_name(VramPurpose purpose) noexcept;

/* Whose memory it is: a model's number, or 0 for the device's own. */
using VramOwner = uint64_t;

/* What an allocation is for, told where it is made. */
struct MemoryTag {
    VramPurpose purpose = VramPurpose::Unknown;
    std::string description;
    VramOwner owner = 0;
};

struct VramUsage {
    std::array<uint64_t, vram_purposes> bytes{}; /* by purpose */
    uint64_t allocations = 0;

    uint64_t of(VramPurpose purpose) const noexcept { return bytes[static_cast<size_t>(purpose)]; }
    uint64_t total() const noexcept;
};

/* What one owner has, kept as a running sum: reading it takes no lock, for hosts ask often. Between two allocations that are
 * made at the same moment, a reader may see one without the other. */
class VramLedger {
public:
    VramUsage usage() const noexcept;
    uint64_t bytes(VramPurpose purpose) const noexcept { return bytes_[static_cast<size_t>(purpose)].load(std::memory_order_relaxed); }
    uint64_t allocations() const noexcept { return allocations_.load(std::memory_order_relaxed); }

private:
    friend class VramTracker;
    void add(VramPurpose purpose, uint64_t bytes) noexcept;
    void subtract(VramPurpose purpose, uint64_t bytes) noexcept;

    std::array<std::atomic<uint64_t>, vram_purposes> bytes_{};
    std::atomic<uint64_t> allocations_{0};
};

/* One per device. All functions may be called from any thread; none calls back while it holds the lock. */
class VramTracker {
public:
    /* Throws invalid_parameter when the address is recorded already, or is null. */
    void record_allocation(const void *address, uint64_t bytes, MemoryTag tag);
    /* An address that is not recorded is ignored: the destructor of a failed constructor may say it twice. */
    void record_deallocation(const void *address) noexcept;

    uint64_t total_usage() const;
    uint64_t usage_by_purpose(VramPurpose purpose) const;
    uint64_t allocation_count() const;
    VramUsage usage_breakdown() const;
    VramUsage usage_breakdown(VramOwner owner) const;
    /* The owner's sum, now and later. */
    std::shared_ptr<const VramLedger> ledger(VramOwner owner);
    /* For people: total, then MB and bytes per purpose, and the number of allocations. */
    std::string usage_report() const;
    /* Each allocation of the owner's, which cannot be freed meanwhile: its end must be recorded first. `visit` must not
     * call the tracker. */
    template <typename Visit> void for_each(VramOwner owner, Visit &&visit) const {
        const std::lock_guard lock(mutex_);
        for (const auto &[address, allocation] : allocations_) {
            if (allocation.tag.owner == owner) visit(address, allocation.bytes, allocation.tag);
        }
    }

private:
    struct Allocation {
        uint64_t bytes;
        MemoryTag tag;
    };

    std::shared_ptr<VramLedger> &ledger_of(VramOwner owner); /* under the lock */

    mutable std::mutex mutex_;
    std::map<const void *, Allocation> allocations_;
    std::map<VramOwner, std::shared_ptr<VramLedger>> ledgers_;
};

} // namespace worker

#endif
