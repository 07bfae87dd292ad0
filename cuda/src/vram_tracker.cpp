#include "vram_tracker.h"

#include "cuda_error.h"

#include <cstdio>
#include <numeric>
#include <utility>

namespace worker {

const char *vram_purpose_name(VramPurpose purpose) noexcept {
    switch (purpose) {
    case VramPurpose::ModelWeights: return "model weights";
    case VramPurpose::KVCache: return "KV cache";
    case VramPurpose::IntermediateBuffers: return "intermediate buffers";
    case VramPurpose::Unknown: break;
    }
    return "other";
}

uint64_t VramUsage::total() const noexcept { return std::accumulate(bytes.begin(), bytes.end(), uint64_t{0}); }

void VramTracker::record_allocation(const void *address, uint64_t bytes, MemoryTag tag) {
    if (address == nullptr) {
        throw CudaError::invalid_parameter("a null address cannot be recorded as an allocation (" + tag.description + ")");
    }
    const std::lock_guard lock(mutex_);
    const auto [place, fresh] = allocations_.try_emplace(address, Allocation{bytes, std::move(tag)});
    if (!fresh) {
        throw CudaError::invalid_parameter("the address of " + place->second.tag.description + " is recorded already");
    }
}

void VramTracker::record_deallocation(const void *address) noexcept {
    const std::lock_guard lock(mutex_);
    allocations_.erase(address);
}

uint64_t VramTracker::total_usage() const { return usage_breakdown().total(); }

uint64_t VramTracker::usage_by_purpose(VramPurpose purpose) const { return usage_breakdown().of(purpose); }

uint64_t VramTracker::allocation_count() const {
    const std::lock_guard lock(mutex_);
    return allocations_.size();
}

VramUsage VramTracker::usage_breakdown() const {
    VramUsage usage;
    const std::lock_guard lock(mutex_);
    for (const auto &[address, allocation] : allocations_) {
        usage.bytes[static_cast<size_t>(allocation.tag.purpose)] += allocation.bytes;
        ++usage.allocations;
    }
    return usage;
}

VramUsage VramTracker::usage_breakdown(VramOwner owner) const {
    VramUsage usage;
    const std::lock_guard lock(mutex_);
    for (const auto &[address, allocation] : allocations_) {
        if (allocation.tag.owner != owner) continue;
        usage.bytes[static_cast<size_t>(allocation.tag.purpose)] += allocation.bytes;
        ++usage.allocations;
    }
    return usage;
}

std::string VramTracker::usage_report() const {
    const VramUsage usage = usage_breakdown();
    const auto line = [](const char *name, uint64_t bytes) {
        char text[96];
        std::snprintf(text, sizeof text, "%s %.2f MB (%llu bytes)", name, static_cast<double>(bytes) / 1e6,
                      static_cast<unsigned long long>(bytes));
        return std::string(text);
    };
    std::string report = line("total", usage.total());
    for (size_t index = 0; index < vram_purposes; ++index) {
        report += ", " + line(vram_purpose_name(static_cast<VramPurpose>(index)), usage.bytes[index]);
    }
    return report + ", " + std::to_string(usage.allocations) + (usage.allocations == 1 ? " allocation" : " allocations");
}

} // namespace worker
