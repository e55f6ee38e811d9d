// The largest magnitudes of each run on the GPU, exactly: three histograms of 11, 10 and 10 bits of magnitude
// find the value of the last one to keep (radix selection), then indices are collected in order. Five reads
// of the values; counts are integers, so nothing depends on the order of threads.
#include "comm/compress/cuda/cuda_kernels.h"
#include "comm/compress/cuda/in_order.cuh"

namespace lockstep::comm {
namespace {

using namespace gpu;

/// Which bits of a magnitude a pass looks at.
struct Digit {
  int shift;
  int bits;
};
constexpr Digit kDigits[] = {{20, 11}, {10, 10}, {0, 10}};

__global__ void begin_kernel(const Selection* runs, int count, RunState* states) {
  for (std::int64_t i = first_item(); i < count; i += stride())
    states[i] = {0, static_cast<std::uint32_t>(runs[i].keep)};
}

/// Counts the digits of values whose upper bits are those of the threshold.
__global__ void count_digits_kernel(const float* values, const Tile* tiles, int count, Digit digit,
                                    const RunState* states, std::uint32_t* histograms) {
  __shared__ std::uint32_t bins[kBins];
  for (int t = static_cast<int>(blockIdx.x); t < count; t += static_cast<int>(gridDim.x)) {
    const Tile tile = tiles[t];
    for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kBlockThreads) bins[bin] = 0;
    __syncthreads();
    const std::uint32_t upper = states[tile.run].threshold;
    for (int i = static_cast<int>(threadIdx.x); i < tile.count; i += kBlockThreads) {
      const std::uint32_t bits = magnitude_bits(values[tile.first + i]) >> digit.shift;
      if (bits >> digit.bits == upper) atomicAdd(&bins[bits & ((1u << digit.bits) - 1u)], 1u);
    }
    __syncthreads();
    std::uint32_t* all = histograms + static_cast<std::int64_t>(tile.run) * kBins;
    for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += kBlockThreads) {
      if (bins[bin] > 0) atomicAdd(&all[bin], bins[bin]);
    }
    __syncthreads();
  }
}

/// One block a run: the digit of the last value to keep. Thread t looks at bins from the top.
__global__ void choose_digit_kernel(const std::uint32_t* histograms, Digit digit, RunState* states) {
  constexpr int kMine = kBins / kBlockThreads;
  __shared__ std::uint32_t sums[kBlockThreads];
  const std::uint32_t* bins = histograms + static_cast<std::int64_t>(blockIdx.x) * kBins;
  const int top = kBins - 1 - static_cast<int>(threadIdx.x) * kMine;
  std::uint32_t sum = 0;
  for (int k = 0; k < kMine; ++k) sum += bins[top - k];
  sums[threadIdx.x] = sum;
  __syncthreads();
  std::uint32_t above = 0;
  for (int before = 0; before < static_cast<int>(threadIdx.x); ++before) above += sums[before];
  RunState& state = states[blockIdx.x];
  const std::uint32_t keep = state.equal, upper = state.threshold;
  __syncthreads();
  if (above >= keep || above + sum < keep) return;  // another thread's bins hold it
  int bin = top;
  while (above + bins[bin] < keep) above += bins[bin--];
  state = {upper << digit.bits | static_cast<std::uint32_t>(bin), keep - above};
}

/// 2^32 for a value above the threshold, 1 for an equal one.
__device__ __forceinline__ std::uint64_t rank_of(float x, std::uint32_t threshold) {
  const std::uint32_t bits = magnitude_bits(x);
  return static_cast<std::uint64_t>(bits > threshold) << 32 | static_cast<std::uint64_t>(bits == threshold);
}

__device__ __forceinline__ std::uint64_t rank_sum(const float* x, int first, int count,
                                                  std::uint32_t threshold) {
  std::uint64_t sum = 0;
  for (int i = first; i < min(first + kEach, count); ++i) sum += rank_of(x[i], threshold);
  return sum;
}

/// Values above the threshold, and the first `equal` of those that equal it, in order.
__device__ void collect_values(const float* values, const Tile& tile, int first, const RunState& state,
                               std::uint64_t before, std::int32_t* out) {
  for (int i = first; i < min(first + kEach, tile.count); ++i) {
    const std::uint64_t rank = rank_of(values[tile.first + i], state.threshold);
    const auto above = static_cast<std::uint32_t>(before >> 32), equal = static_cast<std::uint32_t>(before);
    const bool kept = rank >> 32 != 0 || (rank != 0 && equal < state.equal);
    if (kept) out[above + min(equal, state.equal)] = static_cast<std::int32_t>(tile.first + i);
    before += rank;
  }
}

/// Finds every run's threshold.
void find_thresholds(const float* values, RunNotes& notes, int runs, Stream& stream) {
  const cudaStream_t on = native(stream);
  const int tile_blocks = blocks_for(std::int64_t{notes.tiles()} * kBlockThreads, stream.device());
  begin_kernel<<<blocks_for(runs, stream.device()), kBlockThreads, 0, on>>>(notes.table(), runs,
                                                                            notes.states());
  for (const Digit digit : kDigits) {
    lockstep::cuda::check(cudaMemsetAsync(notes.histograms(), 0, notes.histogram_bytes(), on),
                          "cudaMemsetAsync");
    count_digits_kernel<<<tile_blocks, kBlockThreads, 0, on>>>(values, notes.tile_table(), notes.tiles(),
                                                               digit, notes.states(), notes.histograms());
    choose_digit_kernel<<<runs, kBlockThreads, 0, on>>>(notes.histograms(), digit, notes.states());
  }
}

}  // namespace

void cuda_select(FlatSpan values, Runs runs, FlatSpan indices, Stream& stream) {
  RunNotes& notes = notes_of(*runs, stream.device());
  notes.prepare_selection(*runs);
  if (notes.tiles() == 0) return;
  const int count = static_cast<int>(runs->list.size());
  const float* x = floats_of(values);
  find_thresholds(x, notes, count, stream);
  const RunState* states = notes.states();
  const std::int64_t* outputs = notes.outputs();
  std::int32_t* out = integers_of(indices);
  in_order(
      notes, count, stream, "select",
      [=] __device__(const Tile& tile, int first) {
        return rank_sum(x + tile.first, first, tile.count, states[tile.run].threshold);
      },
      [=] __device__(const Tile& tile, int first, std::uint64_t before) {
        collect_values(x, tile, first, states[tile.run], before, out + outputs[tile.run]);
      });
}

}  // namespace lockstep::comm
