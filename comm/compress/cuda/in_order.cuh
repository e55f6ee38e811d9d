// What is found in runs, written in the order of its elements: each thread counts in its part of a tile,
// counts become sums over the parts before it in the run, and the thread writes from there. Counts are
// integers, so nothing depends on the order of threads.
#pragma once

#include "comm/compress/cuda/device.cuh"
#include "comm/compress/cuda/runs.h"

namespace lockstep::comm::gpu {

constexpr int kEach = static_cast<int>(kTileElements) / kBlockThreads;  // neighbouring elements of a thread

/// The sum over the threads before this one; `total` that of all. `room` is free again afterwards.
inline __device__ std::uint64_t sum_before(std::uint64_t mine, std::uint64_t* room, std::uint64_t& total) {
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  std::uint64_t sum = mine;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const std::uint64_t other = __shfl_up_sync(0xffffffffu, sum, distance);
    if (lane >= distance) sum += other;
  }
  if (lane == 31) room[warp] = sum;
  __syncthreads();
  std::uint64_t before = 0;
  total = 0;
  for (int w = 0; w < kBlockThreads / 32; ++w) {
    if (w < warp) before += room[w];
    total += room[w];
  }
  __syncthreads();
  return before + sum - mine;
}

template <class Count>
__global__ void count_tiles_kernel(const Tile* tiles, int tile_count, Count count, std::uint64_t* counts) {
  __shared__ std::uint64_t room[kBlockThreads / 32];
  for (int t = static_cast<int>(blockIdx.x); t < tile_count; t += static_cast<int>(gridDim.x)) {
    std::uint64_t total = 0;
    static_cast<void>(sum_before(count(tiles[t], static_cast<int>(threadIdx.x) * kEach), room, total));
    if (threadIdx.x == 0) counts[t] = total;
  }
}

/// One block a run: counts become sums over the tiles before.
static __global__ void scan_tiles_kernel(const std::int32_t* first_tiles, std::uint64_t* counts) {
  __shared__ std::uint64_t room[kBlockThreads / 32];
  std::uint64_t base = 0;
  const int end = first_tiles[blockIdx.x + 1];
  for (int first = first_tiles[blockIdx.x]; first < end; first += kBlockThreads) {
    const int tile = first + static_cast<int>(threadIdx.x);
    const std::uint64_t mine = tile < end ? counts[tile] : 0;
    std::uint64_t total = 0;
    const std::uint64_t before = sum_before(mine, room, total);
    if (tile < end) counts[tile] = base + before;
    base += total;
  }
}

template <class Count, class Write>
__global__ void write_tiles_kernel(const Tile* tiles, int tile_count, Count count,
                                   const std::uint64_t* counts, Write write) {
  __shared__ std::uint64_t room[kBlockThreads / 32];
  for (int t = static_cast<int>(blockIdx.x); t < tile_count; t += static_cast<int>(gridDim.x)) {
    const Tile tile = tiles[t];
    const int first = static_cast<int>(threadIdx.x) * kEach;
    std::uint64_t total = 0;
    const std::uint64_t before = counts[t] + sum_before(count(tile, first), room, total);
    write(tile, first, before);
  }
}

/// Enqueues write(tile, first, before) for all parts [first, first + kEach) of tiles (they may reach or lie
/// beyond its end), where `before` sums count(tile, first) over the parts before it in the run.
template <class Count, class Write>
void in_order(RunNotes& notes, int runs, Stream& stream, const char* name, Count count, Write write) {
  const cudaStream_t on = native(stream);
  const int blocks = blocks_for(std::int64_t{notes.tiles()} * kBlockThreads, stream.device());
  count_tiles_kernel<<<blocks, kBlockThreads, 0, on>>>(notes.tile_table(), notes.tiles(), count,
                                                       notes.tile_counts());
  scan_tiles_kernel<<<runs, kBlockThreads, 0, on>>>(notes.first_tiles(), notes.tile_counts());
  write_tiles_kernel<<<blocks, kBlockThreads, 0, on>>>(notes.tile_table(), notes.tiles(), count,
                                                       notes.tile_counts(), write);
  check_launch(name);
}

}  // namespace lockstep::comm::gpu
