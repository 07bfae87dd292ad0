/*
 * A seeded matrix of a type, with activation rows to multiply it with.
 */
#ifndef WORKER_TEST_RANDOM_PROBLEM_H
#define WORKER_TEST_RANDOM_PROBLEM_H

#include "random_data.h"

typedef std::vector<std::vector<float>> Outputs; /* of each activation row, of each row of weights */

struct RandomProblem {
    worker::TensorType type;
    uint64_t rows, columns, count;
    std::vector<std::byte> weights;
    std::vector<float> bias;
    std::vector<std::vector<float>> activations;

    RandomProblem(worker::TensorType stored, uint64_t row_count, uint64_t column_count, uint64_t vectors) : type(stored), rows(row_count), columns(column_count), count(vectors) {
        Random random(rows * 1000 + columns + static_cast<uint64_t>(type));
        weights = random_rows(type, rows, columns, random);
        bias = random_numbers(random, rows);
        for (uint64_t i = 0; i < count; i++) activations.push_back(random_numbers(random, columns));
    }
};

#endif
