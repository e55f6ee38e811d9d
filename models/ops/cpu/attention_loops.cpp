#include "models/ops/cpu/attention_loops.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/cpu_dispatch.h"
#include "models/ops/cpu/element.h"

namespace lockstep::models::cpu {
namespace {

constexpr float kLowest = std::numeric_limits<float>::lowest();

/// Sixteen elements; the compiler splits them for narrower instruction sets. Spelled out, because it makes
/// scalar code of loops that mask a part of a row or look for its maximum.
using Vector [[gnu::vector_size(64), gnu::aligned(4), gnu::may_alias]] = float;
using Numbers [[gnu::vector_size(64)]] = std::int32_t;
constexpr std::int64_t kLanes = 16;

/// Where the row vector at `i` has elements before `count`.
LOCKSTEP_INLINE void find_seen(std::int64_t count, std::int64_t i, Numbers& seen) {
  constexpr Numbers kLane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  seen = kLane < static_cast<std::int32_t>(count - i);
}
LOCKSTEP_INLINE Vector& vector_at(float* row, std::int64_t i) { return *reinterpret_cast<Vector*>(row + i); }
LOCKSTEP_INLINE const Vector& vector_at(const float* row, std::int64_t i) {
  return *reinterpret_cast<const Vector*>(row + i);
}
LOCKSTEP_INLINE float sum_lanes(const Vector& x) {
  Lanes lanes;
  std::memcpy(lanes.sum, &x, sizeof(x));
  return lanes.total();
}

/// Of the first `count` elements.
LOCKSTEP_INLINE float largest(const float* row, std::int64_t count) {
  Vector peaks = Vector{} + kLowest;
  for (std::int64_t i = 0; i < count; i += kLanes) {
    Numbers seen;
    find_seen(count, i, seen);
    const Vector each = seen ? vector_at(row, i) : kLowest;
    peaks = each > peaks ? each : peaks;
  }
  using Half [[gnu::vector_size(32)]] = float;
  using Quarter [[gnu::vector_size(16)]] = float;
  Half halves[2];
  std::memcpy(halves, &peaks, sizeof(peaks));
  const Half half = halves[0] > halves[1] ? halves[0] : halves[1];
  Quarter quarters[2];
  std::memcpy(quarters, &half, sizeof(half));
  const Quarter q = quarters[0] > quarters[1] ? quarters[0] : quarters[1];
  const float left = q[0] > q[1] ? q[0] : q[1];
  const float right = q[2] > q[3] ? q[2] : q[3];
  return left > right ? left : right;
}

LOCKSTEP_INLINE void clear_rest(float* row, std::int64_t seen, std::int64_t stride) {
  std::fill(row + row_stride(seen), row + stride, 0.0F);
}

/// row = exp(row - offset) up to `count`, then zeros. Returns the sum.
LOCKSTEP_INLINE float exponentials(float* row, std::int64_t count, std::int64_t stride, float offset) {
  Vector sums = {};
  for (std::int64_t i = 0; i < row_stride(count); ++i) row[i] = fast_exp(row[i] - offset);
  for (std::int64_t i = 0; i < count; i += kLanes) {
    Numbers seen;
    find_seen(count, i, seen);
    Vector& each = vector_at(row, i);
    each = seen ? each : 0.0F;
    sums += each;
  }
  clear_rest(row, count, stride);
  return sum_lanes(sums);
}

LOCKSTEP_HOT_LOOP void softmax_rows(const ScoreBlock& b, float* log_sums) {
  for (std::int64_t row = 0; row < b.rows; ++row) {
    float* s = b.scores + row * b.stride;
    const std::int64_t count = b.first + row + 1;
    const float peak = largest(s, count);
    const float sum = exponentials(s, count, b.stride, peak);
    const float inverse = 1.0F / sum;
    for (std::int64_t i = 0; i < count; i += kLanes) vector_at(s, i) *= inverse;
    log_sums[row] = peak + std::log(sum);
  }
}

LOCKSTEP_HOT_LOOP void probability_rows(const ScoreBlock& b, const float* log_sums) {
  for (std::int64_t row = 0; row < b.rows; ++row)
    exponentials(b.scores + row * b.stride, b.first + row + 1, b.stride, log_sums[row]);
}

LOCKSTEP_HOT_LOOP void drop_rows(float* scores, const std::uint8_t* mask, std::int64_t count, float factor) {
  for (std::int64_t i = 0; i < count; ++i) scores[i] = mask[i] != 0 ? scores[i] * factor : 0.0F;
}

LOCKSTEP_HOT_LOOP void gradient_rows(const ScoreBlock& b, float* gradients) {
  for (std::int64_t row = 0; row < b.rows; ++row) {
    const float* p = b.scores + row * b.stride;
    float* g = gradients + row * b.stride;
    const std::int64_t count = b.first + row + 1;
    Vector sums = {};
    for (std::int64_t i = 0; i < count; i += kLanes) {
      Numbers seen;
      find_seen(count, i, seen);
      Vector& each = vector_at(g, i);
      each = seen ? each : 0.0F;  // what lies beyond the keys may be anything
      sums += vector_at(p, i) * each;
    }
    const float common = sum_lanes(sums);
    for (std::int64_t i = 0; i < count; i += kLanes)
      vector_at(g, i) = vector_at(p, i) * (vector_at(g, i) - common);
    clear_rest(g, count, b.stride);
  }
}

}  // namespace

void causal_softmax(const ScoreBlock& block, float* log_sums) { softmax_rows(block, log_sums); }
void causal_probabilities(const ScoreBlock& block, const float* log_sums) {
  probability_rows(block, log_sums);
}
void drop(const ScoreBlock& block, const std::uint8_t* mask, float factor) {
  drop_rows(block.scores, mask, block.rows * block.stride, factor);
}
void softmax_gradient(const ScoreBlock& probabilities, float* gradients) {
  gradient_rows(probabilities, gradients);
}

}  // namespace lockstep::models::cpu
