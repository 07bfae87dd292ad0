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
    VramLedger &ledger = *ledger_of(tag.owner);
    const auto [place, fresh] = allocations_.try_emplace(address, Allocation{bytes, std::move(tag)});
    if (!fresh) {
        throw CudaError::invalid_parameter("the address of " + place->second.tag.description + " is recorded already");
    }
    ledger.add(place->second.tag.purpose, bytes);
}

void VramTracker::record_deallocation(const void *address) noexcept {
    const std::lock_guard lock(mutex_);
    const auto place = allocations_.find(address);
    if (place == allocations_.end()) return;
    const auto &[bytes, tag] = place->second;
    if (const auto ledger = ledgers_.find(tag.owner); ledger != ledgers_.end()) {
        ledger->second->subtract(tag.purpose, bytes);
        /* An owner without memory, of whom nobody asks any more, is gone. */
        if (ledger->second->allocations() == 0 && ledger->second.use_count() == 1) ledgers_.erase(ledger);
    }
    allocations_.erase(place);
}

std::shared_ptr<VramLedger> &VramTracker::ledger_of(VramOwner owner) {
    std::shared_ptr<VramLedger> &ledger = ledgers_[owner];
    if (ledger == nullptr) ledger = std::make_shared<VramLedger>();
    return ledger;
}

std::shared_ptr<const VramLedger> VramTracker::ledger(VramOwner owner) {
    const std::lock_guard lock(mutex_);
    return ledger_of(owner);
}

VramUsage VramLedger::usage() const noexcept {
    VramUsage usage;
    for (size_t purpose = 0; purpose < vram_purposes; purpose++) {
        usage.bytes[purpose] = bytes(static_cast<VramPurpose>(purpose));
    }
    usage.allocations = allocations();
    return usage;
}

void VramLedger::add(VramPurpose purpose, uint64_t bytes) noexcept {
    bytes_[static_cast<size_t>(purpose)].fetch_add(bytes, std::memory_order_relaxed);
    allocations_.fetch_add(1, std::memory_order_relaxed);
}

void VramLedger::subtract(VramPurpose purpose, uint64_t bytes) noexcept {
    bytes_[static_cast<size_t>(purpose)].fetch_sub(bytes, std::memory_order_relaxed);
    allocations_.fetch_sub(1, std::memory_order_relaxed);
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
    const std::lock_guard lock(mutex_);
    const auto ledger = ledgers_.find(owner);
    return ledger == ledgers_.end() ? VramUsage{} : ledger->second->usage();
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
