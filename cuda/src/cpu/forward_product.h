/*
 * Products of many rows with several matrices at once, split over the threads by output rows.
 */
#ifndef WORKER_FORWARD_PRODUCT_H
#define WORKER_FORWARD_PRODUCT_H

#include <cstdint>
#include <span>
#include <vector>

#include "../graph/bound_model.h"
#include "forward_parallel.h"
#include "kernels.h"

namespace worker::cpu {

/* One matrix with some rows of one role. */
struct ProductJob {
    Affine weights;
    Role role;
    std::span<const float *const> inputs;
    std::span<float *const> outputs;
};

class Products {
public:
    Products(const KernelTable &kernels, Parallel &parallel) : kernels_(kernels), parallel_(parallel) {}

    /* Memory for the prepared forms of `rows` rows of `columns`, in bytes, and per-thread scratch, in floats. */
    size_t prepared_bytes(uint64_t rows, uint64_t columns) const;
    size_t scratch_floats(uint64_t columns) const { return kernels_.product_scratch(columns); }

    /* 64-byte aligned; scratch is per thread. */
    void use(Arithmetic arithmetic, std::byte *prepared, float *scratch, size_t scratch_stride);

    /* Runs the jobs as one piece of parallel work. All inputs have `columns` values; an input that several jobs share is
     * prepared once per form when the jobs name it in the same order. */
    void run(std::span<const ProductJob> jobs, uint64_t columns);

private:
    struct Piece {
        ProductTask task;
        uint64_t rows_at_once;
        uint64_t first_number;
    };

    void prepare(std::span<const ProductJob> jobs, uint64_t columns);
    uint64_t rows_at_once(const ProductJob &job) const;
    PreparedForm form_of(const ProductJob &job) const { return kernels_.prepared_form(job.weights.matrix.type, job.role, arithmetic_); }

    const KernelTable &kernels_;
    Parallel &parallel_;
    Arithmetic arithmetic_ = Arithmetic::Fast;
    std::byte *prepared_ = nullptr;
    float *scratch_ = nullptr;
    size_t scratch_stride_ = 0;

    struct Source {
        PreparedForm form;
        const float *row;
        std::byte *prepared;
    };
    /* Kept between calls, so that decoding does not allocate. */
    std::vector<Source> sources_;
    std::vector<const std::byte *> inputs_; /* of all jobs, one after the other */
    std::vector<Piece> pieces_;
};

} // namespace worker::cpu

#endif
