// Integers on a shared grid, and magnitudes of runs, on the GPU: a warp or a block of threads takes a run.
#include "comm/compress/cuda/cuda_kernels.h"
#include "comm/compress/cuda/device.cuh"
#include "comm/compress/cuda/runs.h"

namespace lockstep::comm {
namespace {

using namespace gpu;

constexpr int kLanes = 16;  // in which the host adds magnitudes
constexpr unsigned kWholeWarp = 0xffffffffu;

struct RunTable {
  const Selection* runs;
  std::int64_t count;
};
RunTable table_of(const Runs& runs, const Stream& stream) {
  return {notes_of(*runs, stream.device()).table(), static_cast<std::int64_t>(runs->list.size())};
}

__device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x % 32); }

__global__ void largest_kernel(const float* values, RunTable table, float* out) {
  for (std::int64_t i = first_item() / 32; i < table.count; i += stride() / 32) {
    const Selection run = table.runs[i];
    std::uint32_t most = 0;
    for (std::int64_t at = lane(); at < run.count; at += 32)
      most = max(most, magnitude_bits(values[run.first + at]));
    most = __reduce_max_sync(kWholeWarp, most);
    if (lane() == 0) out[i] = std::bit_cast<float>(most);
  }
}

/// In the host's order: 16 lanes, which are added one by one, then what is left.
__device__ double sum_of_magnitudes(const float* x, std::int64_t count) {
  double mine = 0;
  const std::int64_t whole = count / kLanes * kLanes;
  for (std::int64_t at = lane(); lane() < kLanes && at < whole; at += kLanes)
    mine += static_cast<double>(std::bit_cast<float>(magnitude_bits(x[at])));
  double sum = 0;
  for (int other = 0; other < kLanes; ++other) sum += __shfl_sync(kWholeWarp, mine, other);
  for (std::int64_t at = whole; at < count; ++at)
    sum += static_cast<double>(std::bit_cast<float>(magnitude_bits(x[at])));
  return sum;
}

__global__ void means_kernel(const float* values, RunTable table, float* out) {
  for (std::int64_t i = first_item() / 32; i < table.count; i += stride() / 32) {
    const Selection run = table.runs[i];
    const double sum = sum_of_magnitudes(values + run.first, run.count);
    if (lane() == 0) out[i] = static_cast<float>(sum / static_cast<double>(run.count));
  }
}

__global__ void scale_kernel(float* values, RunTable table, const float* factors) {
  for (std::int64_t i = blockIdx.x; i < table.count; i += gridDim.x) {
    const Selection run = table.runs[i];
    for (std::int64_t at = threadIdx.x; at < run.count; at += blockDim.x)
      values[run.first + at] *= factors[i];
  }
}

template <class Field>
__global__ void encode_kernel(float* values, RunTable table, const float* steps, Grid grid, std::uint32_t key,
                              Field* fields) {
  const auto levels = static_cast<float>(grid.levels);
  for (std::int64_t i = blockIdx.x; i < table.count; i += gridDim.x) {
    const Selection run = table.runs[i];
    const float step = steps[i];
    const float inverse = inverse_of(step);
    for (std::int64_t at = run.first + threadIdx.x; at < run.first + run.count; at += blockDim.x) {
      const float unit = random_unit(key, static_cast<std::uint32_t>(at));
      const float x = values[at];
      const std::int32_t code =
          grid_field(x * inverse, levels, grid.stochastic ? unit : 0.5f, 2 * grid.levels);
      fields[at] = static_cast<Field>(code);
      values[at] = x - static_cast<float>(code - grid.levels) * step;
    }
  }
}

template <class Field>
__global__ void decode_kernel(const Field* fields, RunTable table, const float* steps, std::int32_t zero,
                              float share, float* mean) {
  for (std::int64_t i = blockIdx.x; i < table.count; i += gridDim.x) {
    const Selection run = table.runs[i];
    const float step = steps[i];
    for (std::int64_t at = run.first + threadIdx.x; at < run.first + run.count; at += blockDim.x)
      mean[at] = static_cast<float>(static_cast<std::int32_t>(fields[at]) - zero) * step * share;
  }
}

int warps_for(const RunTable& table, const Stream& stream) {
  return blocks_for(table.count * 32, stream.device());
}
int blocks_for_runs(const RunTable& table, const Stream& stream) {
  return blocks_for(table.count * kBlockThreads, stream.device());
}

}  // namespace

void cuda_largest_magnitudes(FlatSpan values, Runs runs, FlatSpan out, Stream& stream) {
  const RunTable table = table_of(runs, stream);
  largest_kernel<<<warps_for(table, stream), kBlockThreads, 0, native(stream)>>>(floats_of(values), table,
                                                                                 floats_of(out));
  check_launch("largest_magnitudes");
}

void cuda_mean_magnitudes(FlatSpan values, Runs runs, FlatSpan out, Stream& stream) {
  const RunTable table = table_of(runs, stream);
  means_kernel<<<warps_for(table, stream), kBlockThreads, 0, native(stream)>>>(floats_of(values), table,
                                                                               floats_of(out));
  check_launch("mean_magnitudes");
}

void cuda_scale_runs(FlatSpan values, Runs runs, FlatSpan factors, Stream& stream) {
  const RunTable table = table_of(runs, stream);
  scale_kernel<<<blocks_for_runs(table, stream), kBlockThreads, 0, native(stream)>>>(floats_of(values), table,
                                                                                     floats_of(factors));
  check_launch("scale_runs");
}

void cuda_grid_steps(FlatSpan everyones, Grid grid, FlatSpan steps, Stream& stream) {
  const float* all = floats_of(everyones);
  float* out = floats_of(steps);
  const std::int64_t runs = steps.count, total = everyones.count;
  each_item(runs, stream, "grid_steps", [=] __device__(std::int64_t i) {
    float most = 0;
    for (std::int64_t at = i; at < total; at += runs) most = fmaxf(most, all[at]);
    out[i] = scale_value(scale_for(most, grid.levels));
  });
}

void cuda_to_grid(FlatSpan values, Runs runs, FlatSpan steps, Grid grid, std::uint32_t key, FlatSpan codes,
                  Stream& stream) {
  const RunTable table = table_of(runs, stream);
  const auto enqueue = [&]<class Field>(Field* fields) {
    encode_kernel<<<blocks_for_runs(table, stream), kBlockThreads, 0, native(stream)>>>(
        floats_of(values), table, floats_of(steps), grid, key, fields);
    check_launch("to_grid");
  };
  if (grid.bits == 8) {
    enqueue(static_cast<std::uint8_t*>(codes.data));
  } else {
    enqueue(static_cast<std::uint16_t*>(codes.data));
  }
}

void cuda_from_grid(FlatSpan codes, Runs runs, FlatSpan steps, Grid grid, int ranks, FlatSpan mean,
                    Stream& stream) {
  const RunTable table = table_of(runs, stream);
  const auto enqueue = [&]<class Field>(const Field* fields) {
    decode_kernel<<<blocks_for_runs(table, stream), kBlockThreads, 0, native(stream)>>>(
        fields, table, floats_of(steps), grid.levels * ranks, 1.0f / static_cast<float>(ranks),
        floats_of(mean));
    check_launch("from_grid");
  };
  if (grid.bits == 8) {
    enqueue(static_cast<const std::uint8_t*>(codes.data));
  } else {
    enqueue(static_cast<const std::uint16_t*>(codes.data));
  }
}

}  // namespace lockstep::comm
