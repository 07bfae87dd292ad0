/* Memory at addresses that kernels ask for. */
#ifndef WORKER_TEST_ALIGNED_H
#define WORKER_TEST_ALIGNED_H

#include <cstddef>
#include <cstdlib>
#include <memory>

struct Freed {
    void operator()(void *memory) const { std::free(memory); }
};
using Aligned = std::unique_ptr<void, Freed>;

inline Aligned aligned(size_t bytes) { return Aligned(std::aligned_alloc(64, (bytes + 127) / 64 * 64)); }

#endif
