#include "models/ops/cpu/attention_loops.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/cpu_dispatch.h"
#include "models/ops/cpu/element.h"

namespace lockstep::models::cpu {
namespace {

LOCKSTEP_INLINE float largest(const float* x, std::int64_t count) {
  Lanes peaks;
  for (float& peak : peaks.sum) peak = x[0];
  std::int64_t i = 0;
  for (; i + Lanes::kCount <= count; i += Lanes::kCount)
    for (int lane = 0; lane < Lanes::kCount; ++lane)
      peaks.sum[lane] = x[i + lane] > peaks.sum[lane] ? x[i + lane] : peaks.sum[lane];
  float peak = x[0];
  for (; i < count; ++i) peak = x[i] > peak ? x[i] : peak;
  for (float each : peaks.sum) peak = each > peak ? each : peak;
  return peak;
}

/// Elements of a row that the loops run over: those seen, rounded up to whole vectors where the row has them,
/// since a scalar rest would cost more than the row.
LOCKSTEP_INLINE std::int64_t whole_vectors(std::int64_t seen, std::int64_t keys) {
  return std::min((seen + Lanes::kCount - 1) / Lanes::kCount * Lanes::kCount, keys);
}

LOCKSTEP_HOT_LOOP void softmax_rows(const ScoreBlock& b, float* log_sums) {
  for (std::int64_t row = 0; row < b.rows; ++row) {
    float* s = b.scores + row * b.keys;
    const std::int64_t seen = b.first + row + 1;
    const std::int64_t width = whole_vectors(seen, b.keys);
    std::fill(s + seen, s + b.keys, std::numeric_limits<float>::lowest());
    const float peak = largest(s, width);
    for (std::int64_t i = 0; i < width; ++i) s[i] = fast_exp(s[i] - peak);
    std::fill(s + seen, s + b.keys, 0.0F);
    const float sum = sum_of(
        width, [&](std::int64_t i) __attribute__((always_inline)) { return s[i]; });
    const float inverse = 1.0F / sum;
    for (std::int64_t i = 0; i < width; ++i) s[i] *= inverse;
    log_sums[row] = peak + std::log(sum);
  }
}

LOCKSTEP_HOT_LOOP void probability_rows(const ScoreBlock& b, const float* log_sums) {
  for (std::int64_t row = 0; row < b.rows; ++row) {
    float* s = b.scores + row * b.keys;
    const std::int64_t seen = b.first + row + 1;
    const float log_sum = log_sums[row];
    const std::int64_t width = whole_vectors(seen, b.keys);
    for (std::int64_t i = 0; i < width; ++i) s[i] = fast_exp(s[i] - log_sum);
    std::fill(s + seen, s + b.keys, 0.0F);
  }
}

LOCKSTEP_HOT_LOOP void drop_rows(float* scores, const std::uint8_t* mask, std::int64_t count, float factor) {
  for (std::int64_t i = 0; i < count; ++i) scores[i] = mask[i] != 0 ? scores[i] * factor : 0.0F;
}

LOCKSTEP_HOT_LOOP void gradient_rows(const ScoreBlock& b, float* gradients) {
  for (std::int64_t row = 0; row < b.rows; ++row) {
    const float* p = b.scores + row * b.keys;
    float* g = gradients + row * b.keys;
    const std::int64_t seen = b.first + row + 1;
    const std::int64_t width = whole_vectors(seen, b.keys);  // probabilities beyond `seen` are 0
    const float common = sum_of(
        width, [&](std::int64_t i) __attribute__((always_inline)) { return p[i] * g[i]; });
#pragma GCC ivdep
    for (std::int64_t i = 0; i < width; ++i) g[i] = p[i] * (g[i] - common);
    std::fill(g + seen, g + b.keys, 0.0F);
  }
}

}  // namespace

void causal_softmax(const ScoreBlock& block, float* log_sums) { softmax_rows(block, log_sums); }
void causal_probabilities(const ScoreBlock& block, const float* log_sums) {
  probability_rows(block, log_sums);
}
void drop(const ScoreBlock& block, const std::uint8_t* mask, float factor) {
  drop_rows(block.scores, mask, block.rows * block.keys, factor);
}
void softmax_gradient(const ScoreBlock& probabilities, float* gradients) {
  gradient_rows(probabilities, gradients);
}

}  // namespace lockstep::models::cpu
