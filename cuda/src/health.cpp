#include "health.h"

#include "cuda_error.h"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace worker {

namespace {

/* Small enough that cancelling is quick, large enough that calls do not count. */
constexpr uint64_t chunk = uint64_t{16} << 20;
/* Weights closer together than this share a page or lie on adjoining ones, and are locked as one range: a shared page must
 * not be unlocked with the first. */
constexpr uintptr_t near = 4096;

template <typename Action> void in_chunks(const WeightRange &weight, Action &&action) {
    const char *data = static_cast<const char *>(weight.data);
    for (uint64_t done = 0; done < weight.bytes; done += chunk) action(data + done, std::min(chunk, weight.bytes - done));
}

void count(engine_residency &result, const std::string &name, uint64_t bytes, uint64_t resident) {
    ++result.allocations;
    result.checked_bytes += bytes;
    result.resident_bytes += resident;
    if (resident == bytes) return;
    if (result.violations++ == 0) std::snprintf(result.violating, sizeof result.violating, "%s", name.c_str());
    result.violating_bytes += bytes - resident;
}

} // namespace

void LoadProgress::advance(uint64_t bytes) {
    done_ += bytes;
    if (callback_ != nullptr && callback_(context_, done_, total_) != 0) {
        throw CudaError::cancelled("loading was cancelled after " + std::to_string(done_) + " of " + std::to_string(total_) + " bytes");
    }
}

Health::Health(Device &device, std::vector<WeightRange> weights, std::span<const char> backing, uint32_t policy, VramOwner owner)
    : device_(device), weights_(std::move(weights)), backing_(backing), policy_(policy), owner_(owner) {
    if (policy_ != ENGINE_RESIDENCY_LOCKED) return;

    std::vector<Span> spans;
    if (!backing.empty()) spans.push_back({backing.data(), backing.size()});
    for (const WeightRange &weight : weights_) {
        if (weight.bytes != 0 && backing.empty()) spans.push_back({weight.data, weight.bytes});
    }
    const auto address = [](const void *data) { return reinterpret_cast<uintptr_t>(data); };
    std::sort(spans.begin(), spans.end(), [&](const Span &a, const Span &b) { return address(a.data) < address(b.data); });
    std::vector<Span> merged;
    for (const Span &span : spans) {
        if (!merged.empty() && address(span.data) - address(merged.back().data) <= merged.back().bytes + near) {
            Span &last = merged.back();
            last.bytes = std::max(last.bytes, address(span.data) + span.bytes - address(last.data));
        } else {
            merged.push_back(span);
        }
    }
    locked_.reserve(merged.size());
    try {
        for (const Span &span : merged) {
            device_.lock(span.data, span.bytes);
            locked_.push_back(span);
        }
    } catch (...) {
        unlock_all();
        throw;
    }
}

Health::~Health() { unlock_all(); }

void Health::bring_in(LoadProgress &progress) {
    progress.advance(0);
    for (const WeightRange &weight : weights_) {
        in_chunks(weight, [&](const char *data, uint64_t bytes) {
            device_.make_resident(data, bytes);
            progress.advance(bytes);
        });
    }
}

engine_residency Health::check() const { return device_.kind() == DeviceKind::Gpu ? check_allocations() : check_weights(); }

engine_residency Health::check_weights() const {
    engine_residency result{};
    /* Looked at as a whole first: where nothing is missing, as nearly always, there is no need to ask for each weight. */
    const bool complete = !backing_.empty() && device_.resident_bytes(backing_.data(), backing_.size()) == backing_.size();
    for (const WeightRange &weight : weights_) {
        uint64_t resident = complete ? weight.bytes : 0;
        if (!complete) in_chunks(weight, [&](const char *data, uint64_t bytes) { resident += device_.resident_bytes(data, bytes); });
        count(result, weight.name, weight.bytes, resident);
    }
    result.policy = policy_;
    result.resident = result.violations == 0 ? 1 : 0;
    return result;
}

/* A GPU's memory is of one kind throughout an allocation, so a few questions prove all weights, and the caches as well. */
engine_residency Health::check_allocations() const {
    engine_residency result{};
    device_.tracker().for_each(owner_, [&](const void *address, uint64_t bytes, const MemoryTag &tag) {
        count(result, tag.description, bytes, device_.resident_bytes(address, bytes));
    });
    result.policy = policy_;
    /* The weights at least must be there: nothing looked at proves nothing. */
    result.resident = result.violations == 0 && result.allocations > 0 ? 1 : 0;
    return result;
}

engine_residency Health::repair() {
    if (device_.kind() == DeviceKind::Gpu) return check(); /* what is in another kind of memory stays there */
    for (const WeightRange &weight : weights_) {
        in_chunks(weight, [&](const char *data, uint64_t bytes) {
            if (device_.resident_bytes(data, bytes) != bytes) device_.make_resident(data, bytes);
        });
    }
    return check();
}

void Health::unlock_all() noexcept {
    for (const Span &span : locked_) device_.unlock(span.data, span.bytes);
    locked_.clear();
}

} // namespace worker
