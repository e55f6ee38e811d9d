// Kernels over rows of channels where a thread keeps its channels: sums per channel and element-wise maps
// with coefficients per channel. A block owns a tile of channels (128 bytes wide where there are so many) and
// every chunks-th group of rows, so that all blocks walk through the tensor together; a sum walks backwards,
// because the tail of what the kernel before it wrote, and what the kernel after it reads first, still lie in
// the L2 cache.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "core/cuda/element.cuh"

namespace lockstep::models::cuda {

inline constexpr int kChannelThreads = 256;

/// Channels that a thread keeps where their number allows: four, which leaves registers for many rows in
/// flight.
inline constexpr int kQuad = 4;

/// Adjacent channels of one row, loaded and stored at once. `last`: nobody reads them again soon.
template <class T, int kLot>
struct alignas(sizeof(T) * kLot) Cell {
  using Word =
      std::conditional_t<sizeof(T) * kLot == 16, uint4, std::conditional_t<sizeof(T) * kLot == 8, uint2, T>>;
  T values[kLot];
  __device__ __forceinline__ static Cell load(const T* from) {
    Cell cell;
    *reinterpret_cast<Word*>(cell.values) = *reinterpret_cast<const Word*>(from);
    return cell;
  }
  __device__ __forceinline__ static Cell load_last(const T* from) {
    Cell cell;
    *reinterpret_cast<Word*>(cell.values) = __ldcs(reinterpret_cast<const Word*>(from));
    return cell;
  }
  __device__ __forceinline__ void store(T* to) const {
    *reinterpret_cast<Word*>(to) = *reinterpret_cast<const Word*>(values);
  }
};

/// How rows of channels are dealt to blocks.
struct ChannelGrid {
  std::int64_t rows = 0;
  int channels = 0;
  int lanes = 1;   ///< threads side by side in a row, each with one lot of channels
  int groups = 1;  ///< rows that a block takes at a time
  int tiles = 1, chunks = 1;

  [[nodiscard]] dim3 blocks() const {
    return dim3(static_cast<unsigned>(chunks), static_cast<unsigned>(tiles));
  }
};

/// `lot`: channels of a thread; `resident`: blocks that fit on a multiprocessor together.
[[nodiscard]] inline ChannelGrid channel_grid(std::int64_t rows, std::int64_t channels, int lot, int resident,
                                              Device device) {
  const int most_lanes = lot > 1 ? 16 : 32;
  const int lots = static_cast<int>(channels) / lot;
  ChannelGrid g{rows, static_cast<int>(channels), std::min(lots, most_lanes)};
  g.groups = kChannelThreads / g.lanes;
  g.tiles = (lots + g.lanes - 1) / g.lanes;
  const std::int64_t useful = (rows + g.groups - 1) / g.groups;
  const std::int64_t wanted = std::max(1, lockstep::cuda::multiprocessors(device) * resident / g.tiles);
  g.chunks = static_cast<int>(std::clamp<std::int64_t>(useful, 1, wanted));
  return g;
}

/// Floats that channel_sums needs for its partial sums.
[[nodiscard]] inline std::size_t channel_partials(const ChannelGrid& g) {
  return std::size_t{2} * static_cast<std::size_t>(g.chunks) * static_cast<std::size_t>(g.channels);
}

/// Lets the body load and then use kUnroll rows at a time.
template <int kUnroll, class Body>
__device__ __forceinline__ void walk_rows(const ChannelGrid& g, int channel, bool backwards, Body& body) {
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * g.groups + threadIdx.x / g.lanes;
  if (first >= g.rows) return;
  const int step = g.chunks * g.groups;
  int left = static_cast<int>((g.rows - 1 - first) / step) + 1;
  std::int64_t at = (backwards ? g.rows - 1 - first : first) * g.channels + channel;
  const std::int64_t stride = static_cast<std::int64_t>(backwards ? -step : step) * g.channels;
  typename Body::Loaded loaded[kUnroll];
  for (; left >= kUnroll; left -= kUnroll, at += kUnroll * stride) {
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) loaded[u] = body.load(at + u * stride);
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) body.use(loaded[u], at + u * stride);
  }
#pragma unroll
  for (int u = 0; u < kUnroll - 1; ++u)
    if (u < left) loaded[u] = body.load(at + u * stride);
#pragma unroll
  for (int u = 0; u < kUnroll - 1; ++u)
    if (u < left) body.use(loaded[u], at + u * stride);
}

/// Sums over the block's groups of each thread's 2 x kLot sums; channel c of the tile: result in
/// room[which][0][c].
template <int kLot>
__device__ __forceinline__ void sum_groups(const ChannelGrid& g, bool active, const float (&first)[kLot],
                                           const float (&second)[kLot], float* room) {
  const int width = g.lanes * kLot, group = threadIdx.x / g.lanes, lane = threadIdx.x % g.lanes;
  const int plane = g.groups * width;
  if (active) {
#pragma unroll
    for (int i = 0; i < kLot; ++i) {
      room[group * width + lane * kLot + i] = first[i];
      room[plane + group * width + lane * kLot + i] = second[i];
    }
  }
  __syncthreads();
  for (int c = threadIdx.x; c < 2 * width; c += kChannelThreads) {
    float* column = room + (c < width ? c : plane + c - width);
    float sum = 0;
    for (int i = 0; i < g.groups; ++i) sum += column[i * width];
    column[0] = sum;
  }
  __syncthreads();
}

/// True in the whole block that is the last of its tile to come here; `counters` are zero before and after.
__device__ __forceinline__ bool last_of_tile(const ChannelGrid& g, unsigned* counters) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(counters + blockIdx.y, 1U) == static_cast<unsigned>(g.chunks) - 1;
    if (last) counters[blockIdx.y] = 0;
  }
  __syncthreads();
  __threadfence();
  return last;
}

/// Adds the chunks' partial sums of one tile up in double, in their order, and gives them to `finish`.
template <int kLot, class Finish>
__device__ __forceinline__ void finish_tile(const ChannelGrid& g, const float* partials, double* room,
                                            const Finish& finish) {
  const int width = g.lanes * kLot, helpers = kChannelThreads / width;
  const int c = threadIdx.x % width, helper = threadIdx.x / width;
  const int channel = blockIdx.y * width + c;
  double first = 0, second = 0;
  if (helper < helpers && channel < g.channels) {
#pragma unroll 4
    for (int chunk = helper; chunk < g.chunks; chunk += helpers) {
      const float* at = partials + static_cast<std::int64_t>(chunk) * 2 * g.channels + channel;
      first += static_cast<double>(__ldcg(at));
      second += static_cast<double>(__ldcg(at + g.channels));
    }
  }
  room[threadIdx.x] = first;
  room[kChannelThreads + threadIdx.x] = second;
  __syncthreads();
  if (helper != 0 || channel >= g.channels) return;
  for (int i = 1; i < helpers; ++i) {
    first += room[i * width + c];
    second += room[kChannelThreads + i * width + c];
  }
  finish(channel, first, second);
}

/// Body: prepare(channel), load, use(loaded, at) adding to its members first[] and second[].
template <int kLot, int kUnroll, int kResident, class Body, class Finish>
__global__ void __launch_bounds__(kChannelThreads, kResident)
    channel_sums_kernel(ChannelGrid g, Body body, Finish finish, float* partials, unsigned* counters) {
  __shared__ alignas(16) float room[2 * kChannelThreads * kLot];
  static_assert(sizeof(room) >= 2 * kChannelThreads * sizeof(float));
  __shared__ double totals[2 * kChannelThreads];
  const int width = g.lanes * kLot;
  const int channel = blockIdx.y * width + threadIdx.x % g.lanes * kLot;
  const bool active = threadIdx.x / g.lanes < g.groups && channel < g.channels;
  if (active) {
    body.prepare(channel);
    walk_rows<kUnroll>(g, channel, true, body);
  }
  const bool counts = threadIdx.x / g.lanes < g.groups;  // idle lanes of the last tile hold zero sums
  sum_groups<kLot>(g, counts, body.first, body.second, room);
  const int plane = g.groups * width;
  for (int c = threadIdx.x; c < width; c += kChannelThreads) {
    const int at = blockIdx.y * width + c;
    if (at >= g.channels) continue;
    float* to = partials + static_cast<std::int64_t>(blockIdx.x) * 2 * g.channels + at;
    to[0] = room[c];
    to[g.channels] = room[plane + c];
  }
  if (last_of_tile(g, counters)) finish_tile<kLot>(g, partials, totals, finish);
}

/// Body: prepare(channel), load, use(loaded, at) that stores.
template <int kLot, int kUnroll, int kResident, class Body>
__global__ void __launch_bounds__(kChannelThreads, kResident) channel_map_kernel(ChannelGrid g, Body body) {
  const int channel = (blockIdx.y * g.lanes + threadIdx.x % g.lanes) * kLot;
  if (threadIdx.x / g.lanes >= g.groups || channel >= g.channels) return;
  body.prepare(channel);
  walk_rows<kUnroll>(g, channel, false, body);
}

}  // namespace lockstep::models::cuda
