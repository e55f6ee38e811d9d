// The GPU's loops over packed arrays. What does not depend on other elements has the host's bits.
#include "comm/compress/cuda/cuda_kernels.h"
#include "comm/compress/cuda/device.cuh"

namespace lockstep::comm {
namespace {

using namespace gpu;

/// Adds 1 for each thread whose value is not finite: one atomic addition a warp, and none in a good step.
__device__ __forceinline__ void count_nonfinite(float value, Counter* bad) {
  if (!is_nonfinite(value)) return;
  const unsigned together = __activemask();
  if (static_cast<int>(threadIdx.x % 32) == __ffs(static_cast<int>(together)) - 1)
    atomicAdd(bad, static_cast<Counter>(__popc(together)));
}

}  // namespace

void cuda_settle(FlatSpan settled, FlatSpan current, FlatSpan verdict, Stream& stream) {
  float* before = floats_of(settled);
  float* after = floats_of(current);
  const std::int32_t* kept = integers_of(verdict);
  each_batch(
      settled.count, stream, "settle",
      [=] __device__(std::int64_t i) {
        return float2{*kept != 0 ? after[i] : before[i], 0.0f};
      },
      [=] __device__(std::int64_t i, float2 read) { (*kept != 0 ? before : after)[i] = read.x; });
}

void cuda_accept(const std::int32_t* skip, FlatSpan verdict, Stream& stream) {
  std::int32_t* accepted = integers_of(verdict);
  each_item(1, stream, "accept", [=] __device__(std::int64_t) { *accepted = *skip == 0 ? 1 : 0; });
}

void cuda_add_residual(FlatSpan gradient, FlatSpan residual, FlatSpan values, float factor, FlatSpan verdict,
                       FlatSpan bad, Stream& stream) {
  if (factor == 0) return cuda_settle(residual, values, verdict, stream);
  const float* g = floats_of(gradient);
  float* e = floats_of(residual);
  float* p = floats_of(values);
  const std::int32_t* kept = integers_of(verdict);
  Counter* count = counter_of(bad);
  each_batch(
      gradient.count, stream, "add_residual",
      [=] __device__(std::int64_t i) {
        return float2{g[i], *kept != 0 ? p[i] : e[i]};
      },
      [=] __device__(std::int64_t i, float2 read) {
        const float value = factor * read.x + read.y;
        e[i] = read.y;
        p[i] = value;
        count_nonfinite(value, count);
      });
}

void cuda_scaled(FlatSpan from, FlatSpan to, float factor, FlatSpan bad, Stream& stream) {
  const float* x = floats_of(from);
  float* y = floats_of(to);
  Counter* count = counter_of(bad);
  each_batch(
      from.count, stream, "scaled",
      [=] __device__(std::int64_t i) {
        return float2{factor * x[i], 0.0f};
      },
      [=] __device__(std::int64_t i, float2 read) {
        y[i] = read.x;
        if (count != nullptr) count_nonfinite(read.x, count);
      });
}

void cuda_clear_if(FlatSpan x, FlatSpan flag, Stream& stream) {
  float* values = floats_of(x);
  const auto* set = static_cast<const std::int64_t*>(flag.data);
  each_item(x.count, stream, "clear_if", [=] __device__(std::int64_t i) {
    if (*set != 0) values[i] = 0;
  });
}

void cuda_pick(FlatSpan values, FlatSpan indices, FlatSpan picked, Stream& stream) {
  const float* x = floats_of(values);
  const std::int32_t* places = integers_of(indices);
  float* out = floats_of(picked);
  each_item(indices.count, stream, "pick", [=] __device__(std::int64_t j) { out[j] = x[places[j]]; });
}

void cuda_clear_at(FlatSpan values, FlatSpan indices, Stream& stream) {
  float* x = floats_of(values);
  const std::int32_t* places = integers_of(indices);
  each_item(indices.count, stream, "clear_at", [=] __device__(std::int64_t j) { x[places[j]] = 0; });
}

void cuda_place(FlatSpan placed, FlatSpan indices, FlatSpan values, Stream& stream) {
  const float* from = floats_of(placed);
  const std::int32_t* places = integers_of(indices);
  float* x = floats_of(values);
  each_item(indices.count, stream, "place", [=] __device__(std::int64_t j) { x[places[j]] = from[j]; });
}

void cuda_draw(Runs runs, std::uint32_t key, FlatSpan indices, Stream& stream) {
  std::int32_t* out = integers_of(indices);
  for (const Selection& run : runs->list) {
    each_item(run.keep, stream, "draw", [=] __device__(std::int64_t j) {
      const std::int64_t begin = run.count * j / run.keep;
      const std::int64_t length = run.count * (j + 1) / run.keep - begin;
      const std::uint64_t random = random_bits(key, static_cast<std::uint32_t>(run.first + begin));
      const auto step = static_cast<std::int64_t>(random * static_cast<std::uint64_t>(length) >> 32);
      out[j] = static_cast<std::int32_t>(run.first + begin + step);
    });
    out += run.keep;
  }
}

/// Indices of one call differ, so no two threads meet.
void cuda_add_at(FlatSpan picked, FlatSpan indices, FlatSpan values, float factor, Stream& stream) {
  const float* add = floats_of(picked);
  const std::int32_t* places = integers_of(indices);
  float* x = floats_of(values);
  each_item(indices.count, stream, "add_at",
            [=] __device__(std::int64_t j) { x[places[j]] += factor * add[j]; });
}

}  // namespace lockstep::comm
