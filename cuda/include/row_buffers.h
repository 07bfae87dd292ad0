/*
 * What a forward pass keeps for each row of a batch, on any device, and how a block of memory is divided into that.
 */
#ifndef WORKER_ROW_BUFFERS_H
#define WORKER_ROW_BUFFERS_H

#include <cstddef>
#include <cstdint>

#include "engine.h"

namespace worker {

constexpr size_t rounded_up(size_t bytes, size_t alignment) { return (bytes + alignment - 1) / alignment * alignment; }

/* Hands out aligned parts of a block, or, without one, only adds up. */
class Divider {
public:
    Divider(std::byte *base, size_t alignment) : base_(base), alignment_(alignment) {}

    template <typename T> void take(T *&place, uint64_t count) {
        place = base_ != nullptr ? reinterpret_cast<T *>(base_ + used_) : nullptr;
        used_ += rounded_up(count * sizeof(T), alignment_);
    }
    size_t used() const { return used_; }

private:
    std::byte *base_;
    size_t alignment_;
    size_t used_ = 0;
};

/* Addresses on the device. A slot is a row, or one expert's part of it. */
struct RowBuffers {
    float *hidden = nullptr;           /* [rows][width]: what flows from layer to layer */
    float *normed = nullptr;           /* [rows][width] */
    float *projected = nullptr;        /* [rows][width]: what attention or feed-forward adds */
    float *query = nullptr;            /* [rows][heads * head_size] */
    float *key = nullptr;              /* [rows][kv_heads * head_size] */
    float *value = nullptr;            /* [rows][kv_heads * value_size] */
    float *attended = nullptr;         /* [rows][heads * value_size] */
    float *gate = nullptr;             /* [slots][feed_forward] */
    float *up = nullptr;               /* [slots][feed_forward] */
    float *expert_output = nullptr;    /* [slots][width], where there are experts */
    float *router_scores = nullptr;    /* [rows][experts] */
    float *expert_weights = nullptr;   /* [slots] */
    uint32_t *expert_chosen = nullptr; /* [slots] */

protected:
    static uint64_t slots(const engine_model_description &d, uint64_t rows) { return d.experts != 0 ? rows * d.experts_used : rows; }

    void take_from(Divider &divider, const engine_model_description &d, uint64_t rows) {
        const uint64_t expert_slots = d.experts != 0 ? slots(d, rows) : 0;
        divider.take(hidden, rows * d.width);
        divider.take(normed, rows * d.width);
        divider.take(projected, rows * d.width);
        divider.take(query, rows * d.heads * d.head_size);
        divider.take(key, rows * d.kv_heads * d.head_size);
        divider.take(value, rows * d.kv_heads * d.value_size);
        divider.take(attended, rows * d.heads * d.value_size);
        divider.take(gate, slots(d, rows) * d.feed_forward);
        divider.take(up, slots(d, rows) * d.feed_forward);
        divider.take(expert_output, expert_slots * d.width);
        divider.take(router_scores, rows * d.experts);
        divider.take(expert_weights, expert_slots);
        divider.take(expert_chosen, expert_slots);
    }
};

} // namespace worker

#endif
