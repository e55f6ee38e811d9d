// Everyone writes its array to everyone's board and adds what arrives on its own.
#include <algorithm>

#include "comm/peer/device.cuh"
#include "comm/peer/kernels.h"

namespace lockstep::comm {

namespace {

template <class T>
union Line {
  static constexpr int kCount = kLineBytes / sizeof(T);
  uint2 words;
  T values[kCount];
};

/// The line's elements, or those that there are; `whole`: the array lies at an 8-byte boundary.
template <class T>
__device__ __forceinline__ uint2 read_line(const T* data, std::int64_t count, std::int64_t line, bool whole) {
  constexpr int kCount = Line<T>::kCount;
  const std::int64_t first = line * kCount;
  if (whole && first + kCount <= count) return *reinterpret_cast<const uint2*>(data + first);
  Line<T> read;
  read.words = {0, 0};
  for (int k = 0; k < kCount && first + k < count; ++k) read.values[k] = data[first + k];
  return read.words;
}
template <class T>
__device__ __forceinline__ void write_line(T* data, std::int64_t count, std::int64_t line, bool whole,
                                           const Line<T>& sum) {
  constexpr int kCount = Line<T>::kCount;
  const std::int64_t first = line * kCount;
  if (whole && first + kCount <= count) {
    *reinterpret_cast<uint2*>(data + first) = sum.words;
    return;
  }
  for (int k = 0; k < kCount && first + k < count; ++k) data[first + k] = sum.values[k];
}

/// Polls a line until it is of this epoch.
template <class T>
__device__ __forceinline__ Line<T> take_line(const uint4* from, std::uint32_t epoch, int peer,
                                             Patience& patience) {
  uint4 got = load_line(from);
  while ((got.y != epoch || got.w != epoch) && !patience.lost(peer)) got = load_line(from);
  Line<T> line;
  line.words = {got.x, got.z};
  return line;
}

/// An array of `count` elements and where its lines go; the same on every rank.
template <class T>
struct Lines {
  T* data;
  std::int64_t count;
  bool whole;
  std::uint32_t epoch;

  /// Calls visit(line, place): the lines of this thread, and their places in the block's part of a board.
  template <class Visit>
  __device__ __forceinline__ void each(Visit visit) const {
    const std::int64_t lines = (count + Line<T>::kCount - 1) / Line<T>::kCount;
    const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * kLineThreads;
    int place = static_cast<int>(threadIdx.x);
    for (std::int64_t line = static_cast<std::int64_t>(blockIdx.x) * kLineThreads + threadIdx.x; line < lines;
         line += stride, place += kLineThreads)
      visit(line, place);
  }
  __device__ __forceinline__ Line<T> mine(std::int64_t line) const {
    Line<T> read;
    read.words = read_line(data, count, line, whole);
    return read;
  }
  /// Where `from` writes on a board.
  __device__ __forceinline__ uint4* on(Board& board, int from, int place) const {
    return &board.lines[epoch % 2][from][blockIdx.x][place];
  }
};

template <class T, int kMembers>
__global__ void __launch_bounds__(kLineThreads)
    one_shot_kernel(const __grid_constant__ Call call, T* data, std::int64_t count, bool whole) {
  Board& own = *call.boards[call.rank];
  const Lines<T> lines{data, count, whole, own.line_epochs[blockIdx.x] + 1};
  lines.each([&](std::int64_t line, int place) {
    const Line<T> mine = lines.mine(line);
    for (int step = 1; step < call.ranks; ++step) {
      const int peer = (call.rank + step) % call.ranks;
      store_line(lines.on(*call.boards[peer], call.rank, place), mine.words, lines.epoch);
    }
  });
  const bool notes = blockIdx.x == 0 && threadIdx.x == kLineThreads - 1;
  if (notes) note_begin(call);

  const Tree<kMembers> tree(call.ranks);
  Patience patience(call);
  lines.each([&](std::int64_t line, int place) {
    const auto of = [&](int rank) {
      if (rank == call.rank) return lines.mine(line);
      return take_line<T>(lines.on(own, rank, place), lines.epoch, rank, patience);
    };
    const auto sum = add_values<T, Line<T>>(
        tree, [&](int leaf) { return of(tree.first(leaf)); },
        [&](int leaf) { return of(tree.first(leaf) + 1); });
    write_line(data, count, line, whole, sum);
  });
  __syncthreads();
  if (threadIdx.x == 0) own.line_epochs[blockIdx.x] = lines.epoch;
  if (notes) note_end(call);
}

bool at_boundary(const void* data, std::uintptr_t bytes) {
  return reinterpret_cast<std::uintptr_t>(data) % bytes == 0;
}

}  // namespace

bool peer_summable(Dtype dtype) noexcept {
  return dtype == Dtype::f32 || dtype == Dtype::bf16 || dtype == Dtype::f16 || dtype == Dtype::f64 ||
         dtype == Dtype::i32;
}

void launch_one_shot(const Call& call, Dtype dtype, void* data, std::int64_t count, cudaStream_t on) {
  const std::int64_t bytes = count * static_cast<std::int64_t>(size_of(dtype));
  const std::int64_t lines = (bytes + kLineBytes - 1) / kLineBytes;
  const auto blocks = static_cast<unsigned>(
      std::clamp<std::int64_t>((lines + kLineThreads - 1) / kLineThreads, 1, kLineBlocks));
  with_type(dtype, call.ranks, [&]<class T, int kMembers>() {
    one_shot_kernel<T, kMembers>
        <<<blocks, kLineThreads, 0, on>>>(call, static_cast<T*>(data), count, at_boundary(data, kLineBytes));
  });
  cuda::check_launch("one-shot sum");
}

}  // namespace lockstep::comm
