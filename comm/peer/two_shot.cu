// Sums of arrays that this GPU can read: everyone's, over NVLink, or copies of them.
#include <algorithm>

#include "comm/peer/device.cuh"
#include "comm/peer/kernels.h"

namespace lockstep::comm {

namespace {

using cuda::check_launch;
using cuda::Pack;

/// Packs that a thread has on their way at once: enough to fill NVLink, few enough for its registers.
template <int kMembers>
constexpr int kUnroll = kMembers == 2   ? 4
                        : kMembers == 4 ? 2
                                        : 1;

/// x = sum over ranks, pack by pack: reads [first, first + packs) of all ranks' arrays, hands sums to
/// `write`.
template <class T, int kMembers, class Write>
__device__ __forceinline__ void add_packs(const Call& call, const Arrays& arrays, std::int64_t first,
                                          std::int64_t packs, Write write) {
  constexpr int kCount = Pack<T>::kCount, kAtOnce = kUnroll<kMembers>;
  const Tree<kMembers> tree(call.ranks);
  const auto read = [&](int rank, std::int64_t pack) {
    return Pack<T>::load(static_cast<const T*>(arrays.of[rank]) + pack * kCount);
  };
  const std::int64_t threads = blockDim.x, tile = threads * kAtOnce;
  for (std::int64_t at = blockIdx.x * tile + threadIdx.x; at < packs; at += gridDim.x * tile) {
    Pack<T> got[kMembers][kAtOnce];
#pragma unroll
    for (int member = 0; member < kMembers; ++member) {
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) {
        if (at + k * threads < packs) got[member][k] = read(tree.first(member), first + at + k * threads);
      }
    }
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      const std::int64_t pack = first + at + k * threads;
      if (at + k * threads >= packs) break;
      write(pack, add_values<T, Pack<T>>(
                      tree, [&](int leaf) { return got[leaf][k]; },
                      [&](int leaf) { return read(tree.first(leaf) + 1, pack); }));
    }
  }
}

/// Element `i` alone: the few behind the last whole pack.
template <class T, int kMembers>
__device__ __forceinline__ T add_one(const Call& call, const Arrays& arrays, std::int64_t i) {
  struct One {
    T values[1];
  };
  const Tree<kMembers> tree(call.ranks);
  const auto of = [&](int rank) { return One{{static_cast<const T*>(arrays.of[rank])[i]}}; };
  return add_values<T, One>(
             tree, [&](int leaf) { return of(tree.first(leaf)); },
             [&](int leaf) { return of(tree.first(leaf) + 1); })
      .values[0];
}

constexpr int kThreads = 512;

/// Nobody but this rank reads its chunk of the arrays, so it may write the sums there at once.
template <class T, int kMembers>
__global__ void __launch_bounds__(kThreads)
    two_shot_kernel(const __grid_constant__ Call call, const __grid_constant__ Arrays arrays,
                    std::int64_t count, std::int64_t first, std::int64_t packs) {
  constexpr int kCount = Pack<T>::kCount;
  Board& own = *call.boards[call.rank];
  const int block = static_cast<int>(blockIdx.x);
  const std::uint32_t epoch = own.epochs[block] + 1;
  const bool notes = block == 0 && threadIdx.x == kThreads - 1;
  if (notes) note_begin(call);
  meet(call, epoch, [&](Board& board) { return board.begin[block]; });

  const auto write = [&](std::int64_t pack, const Pack<T>& sum) {
    for (int step = 0; step < call.ranks; ++step) {
      const int rank = call.rank + step < call.ranks ? call.rank + step : call.rank + step - call.ranks;
      sum.store(static_cast<T*>(arrays.of[rank]) + pack * kCount);
    }
  };
  add_packs<T, kMembers>(call, arrays, first, packs, write);
  const std::int64_t rest = count / kCount * kCount + threadIdx.x;
  if (block == 0 && call.rank == call.ranks - 1 && rest < count) {
    const T sum = add_one<T, kMembers>(call, arrays, rest);
    for (int rank = 0; rank < call.ranks; ++rank) static_cast<T*>(arrays.of[rank])[rest] = sum;
  }

  __syncthreads();  // the block's writes come before the flags that its threads release
  meet(call, epoch, [&](Board& board) { return board.end[block]; });
  if (threadIdx.x == 0) own.epochs[block] = epoch;
  if (notes) note_end(call);
}

template <class T, int kMembers>
__global__ void __launch_bounds__(kThreads)
    add_kernel(const __grid_constant__ Call call, const __grid_constant__ Arrays sources, T* to,
               std::int64_t first, std::int64_t count) {
  constexpr int kCount = Pack<T>::kCount;
  const auto write = [&](std::int64_t pack, const Pack<T>& sum) { sum.store(to + pack * kCount); };
  add_packs<T, kMembers>(call, sources, first / kCount, count / kCount, write);
  const std::int64_t rest = count / kCount * kCount + threadIdx.x;
  if (blockIdx.x == 0 && rest < count) to[first + rest] = add_one<T, kMembers>(call, sources, first + rest);
}

__global__ void meet_kernel(const __grid_constant__ Call call) {
  Board& own = *call.boards[call.rank];
  const std::uint32_t epoch = own.epochs[kMostBlocks] + 1;
  if (threadIdx.x == 31) note_begin(call);
  meet(call, epoch, [](Board& board) { return board.begin[kMostBlocks]; });
  if (threadIdx.x != 31) return;
  own.epochs[kMostBlocks] = epoch;
  note_end(call);
}

/// Blocks for so many packs.
template <class T, int kMembers>
unsigned grid_of(std::int64_t packs, int most) {
  constexpr std::int64_t kTile = std::int64_t{kThreads} * kUnroll<kMembers>;
  return static_cast<unsigned>(std::clamp<std::int64_t>((packs + kTile - 1) / kTile, 1, most));
}

}  // namespace

void launch_two_shot(const Call& call, Dtype dtype, const Arrays& arrays, std::int64_t count, int blocks,
                     cudaStream_t on) {
  with_type(dtype, call.ranks, [&]<class T, int kMembers>() {
    const std::int64_t packs = count / Pack<T>::kCount;
    const Range own = chunk_of({0, packs}, call.ranks, call.rank);
    // All ranks launch the same grid: it follows from the longest chunk.
    two_shot_kernel<T, kMembers><<<grid_of<T, kMembers>(packs / call.ranks + 1, blocks), kThreads, 0, on>>>(
        call, arrays, count, own.first, own.count);
  });
  check_launch("two-shot sum");
}

void launch_add(const Call& call, Dtype dtype, const Arrays& sources, void* to, Range range, int blocks,
                cudaStream_t on) {
  if (range.count == 0) return;
  with_type(dtype, call.ranks, [&]<class T, int kMembers>() {
    add_kernel<T, kMembers><<<grid_of<T, kMembers>(range.count / Pack<T>::kCount, blocks), kThreads, 0, on>>>(
        call, sources, static_cast<T*>(to), range.first, range.count);
  });
  check_launch("sum of copies");
}

void launch_meet(const Call& call, cudaStream_t on) {
  meet_kernel<<<1, 32, 0, on>>>(call);
  check_launch("meeting of ranks");
}

}  // namespace lockstep::comm
