// The row loops of causal attention between its matrix products: softmax over what causality leaves, and its
// gradient, on a block of score rows.
#pragma once

#include <cstdint>

namespace lockstep::models::cpu {

/// Scores of queries [first, first + rows) against keys [0, keys), row by row. Rows lie `stride` apart, whole
/// vectors, so that no loop has a scalar rest; what lies beyond the keys is scratch.
struct ScoreBlock {
  float* scores;
  std::int64_t first, rows, keys, stride;
};
/// The stride of rows of so many keys.
[[nodiscard]] constexpr std::int64_t row_stride(std::int64_t keys) { return (keys + 15) / 16 * 16; }

/// scores = softmax(scores) with zeros after the diagonal; log_sums[row] = log(sum(exp(scores))).
void causal_softmax(const ScoreBlock& block, float* log_sums);

/// scores = exp(scores - log_sums[row]): the probabilities again.
void causal_probabilities(const ScoreBlock& block, const float* log_sums);

/// scores = scores * mask * factor; the mask has `stride` bytes per row.
void drop(const ScoreBlock& block, const std::uint8_t* mask, float factor);

/// gradients = P (gradients - sum(P gradients)) per row, with zeros after the diagonal; both blocks have the
/// same shape.
void softmax_gradient(const ScoreBlock& probabilities, float* gradients);

}  // namespace lockstep::models::cpu
