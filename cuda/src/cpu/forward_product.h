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

    /* Memory for each row of `columns` that meets at most `types` types of weights in one run, and besides for all of them
     * together, in bytes; and per-thread scratch, in floats. */
    size_t prepared_bytes(uint64_t columns, unsigned types) const;
    size_t prepared_rest_bytes(uint64_t columns, unsigned types) const;
    size_t scratch_floats(uint64_t columns) const;

    /* 64-byte aligned; scratch is per thread. */
    void use(std::byte *prepared, float *scratch, size_t scratch_stride);

    /* Runs the jobs as one piece of parallel work. All inputs have `columns` values; an input that several jobs share is
     * prepared once per form when the jobs name it in the same order. */
    void run(std::span<const ProductJob> jobs, uint64_t columns, Arithmetic arithmetic);

private:
    struct Piece {
        ProductTask task;
        uint64_t rows_at_once;
        uint64_t first_number;
    };

    /* What a job's rows become: an address for each, or tiles. */
    struct Preparation {
        std::span<const float *const> rows;
        PreparedForm form;
        TileShape shape;
        size_t first_input; /* in inputs_, where there are no tiles */
        std::byte *tiles;
    };
    /* A row in its form, or, where there is a shape, some columns of a tile's rows. */
    struct Source {
        PreparedForm form;
        TileShape shape;
        const float *const *rows;
        size_t count;
        uint64_t first_column;
        std::byte *place;
    };

    size_t largest_lane_bytes(uint64_t columns) const;
    void prepare(std::span<const ProductJob> jobs, uint64_t columns, Arithmetic arithmetic);
    Preparation prepare_job(const ProductJob &job, uint64_t columns, Arithmetic arithmetic, std::byte *&place);
    void run_source(const Source &source, uint64_t columns, float *scratch) const;
    uint64_t rows_at_once(const ProductJob &job, const Preparation &prepared) const;

    const KernelTable &kernels_;
    Parallel &parallel_;
    std::byte *prepared_ = nullptr;
    float *scratch_ = nullptr;
    size_t scratch_stride_ = 0;

    /* Kept between calls, so that decoding does not allocate. */
    std::vector<Preparation> prepared_jobs_; /* by job */
    std::vector<Source> sources_;
    std::vector<const std::byte *> inputs_;
    std::vector<Piece> pieces_;
};

} // namespace worker::cpu

#endif
