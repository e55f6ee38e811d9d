// Device side of a board: flags and lines with system scope, waits that give up, and the sum over ranks.
#pragma once

#include <cstdint>

#include "comm/peer/board.h"
#include "core/cuda/element.cuh"

namespace lockstep::comm {

__device__ __forceinline__ void store_release(std::uint32_t* to, std::uint32_t value) {
  asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(to), "r"(value) : "memory");
}
__device__ __forceinline__ std::uint32_t load_acquire(const std::uint32_t* from) {
  std::uint32_t value;
  asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(from) : "memory");
  return value;
}
/// Each 8-byte half, a word of data and its epoch, arrives whole.
__device__ __forceinline__ void store_line(uint4* to, uint2 data, std::uint32_t epoch) {
  asm volatile("st.volatile.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(data.x), "r"(epoch),
               "r"(data.y), "r"(epoch)
               : "memory");
}
__device__ __forceinline__ uint4 load_line(const uint4* from) {
  uint4 line;
  asm volatile("ld.volatile.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(line.x), "=r"(line.y), "=r"(line.z), "=r"(line.w)
               : "l"(from)
               : "memory");
  return line;
}
__device__ __forceinline__ std::uint64_t now_ns() {
  std::uint64_t now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  return now;
}

/// A thread that polls. Now and then it looks at the clock and at the host's page, which takes a microsecond.
/// When the deadline has passed it tells the host, which first fails the stream and then lets it go, so that
/// nobody takes what is there for a result; a host that does not answer is given up too.
class Patience {
 public:
  __device__ explicit Patience(const Call& call) : call_(call) {}
  /// True when there is nothing to wait for any more.
  __device__ bool lost(int peer) {
    constexpr int kPolls = 512;
    constexpr std::uint64_t kHost_ns = 10'000'000'000;  // the report waits up to 7 s for answers
    if (++polls_ < kPolls) return false;
    polls_ = 0;
    const std::uint64_t now = now_ns();
    if (begin_ == 0) begin_ = now;
    const std::uint64_t waited = now - begin_;
    volatile Notes* notes = call_.notes;
    if (waited > call_.deadline_ns) {
      notes->waiting_for = peer;
      notes->waited_ns = waited;
    }
    return notes->abort != 0 || waited > call_.deadline_ns + kHost_ns;
  }

 private:
  const Call& call_;
  std::uint64_t begin_ = 0;
  int polls_ = 0;
};

/// Until a flag that `peer` sets has come to `epoch`.
__device__ __forceinline__ void wait_for(const Call& call, const std::uint32_t* flag, std::uint32_t epoch,
                                         int peer) {
  Patience patience(call);
  while (static_cast<std::int32_t>(load_acquire(flag) - epoch) < 0 && !patience.lost(peer)) {
  }
}

/// Thread `peer` of the block tells that rank of `epoch`, and waits until it has been told. `flags` picks the
/// row of a board.
template <class Flags>
__device__ __forceinline__ void meet(const Call& call, std::uint32_t epoch, Flags flags) {
  const int peer = static_cast<int>(threadIdx.x);
  if (peer < call.ranks && peer != call.rank) {
    store_release(flags(*call.boards[peer]) + call.rank, epoch);
    wait_for(call, flags(*call.boards[call.rank]) + peer, epoch, peer);
  }
  __syncthreads();
}

/// For the watch; by one thread of the grid.
__device__ __forceinline__ void note_begin(const Call& call) {
  volatile Notes* notes = call.notes;
  notes->bucket = call.bucket;
  notes->bytes = call.bytes;
  notes->begun = call.boards[call.rank]->operations + 1;
}
__device__ __forceinline__ void note_end(const Call& call) {
  volatile Notes* notes = call.notes;
  notes->done = ++call.boards[call.rank]->operations;
}

/// In which type a type is added.
template <class T>
struct Adding {
  using Type = float;
  __device__ __forceinline__ static float widen(T x) { return cuda::to_float(x); }
  __device__ __forceinline__ static T narrow(float x) { return cuda::from_float<T>(x); }
};
template <>
struct Adding<double> {
  using Type = double;
  __device__ __forceinline__ static double widen(double x) { return x; }
  __device__ __forceinline__ static double narrow(double x) { return x; }
};
template <>
struct Adding<std::int32_t> {
  using Type = std::uint32_t;  // wraps
  __device__ __forceinline__ static std::uint32_t widen(std::int32_t x) {
    return static_cast<std::uint32_t>(x);
  }
  __device__ __forceinline__ static std::int32_t narrow(std::uint32_t x) {
    return static_cast<std::int32_t>(x);
  }
};

/// The balanced tree over 2 to 8 ranks in which add_balanced() adds: `kMembers` leaves, the largest power of
/// two; the first ranks - kMembers leaves are sums of two ranks.
template <int kMembers>
struct Tree {
  int extra;
  __device__ explicit Tree(int ranks) : extra(ranks - kMembers) {}
  /// The first rank of a leaf; a leaf of two has the next one too.
  __device__ int first(int member) const { return member < extra ? 2 * member : member + extra; }
  __device__ bool pair(int member) const { return member < extra; }
  template <class A>
  __device__ __forceinline__ static A sum(A (&leaves)[kMembers]) {
#pragma unroll
    for (int left = kMembers / 2; left > 0; left /= 2) {
#pragma unroll
      for (int i = 0; i < left; ++i) leaves[i] = leaves[2 * i] + leaves[2 * i + 1];
    }
    return leaves[0];
  }
};

/// The sum over ranks of a V, some elements together: `first(leaf)` is the only or first rank's, `second` the
/// next rank's of a leaf of two.
template <class T, class V, int kMembers, class First, class Second>
__device__ __forceinline__ V add_values(const Tree<kMembers>& tree, First first, Second second) {
  using A = Adding<T>;
  constexpr int kCount = sizeof(V) / sizeof(T);
  typename A::Type leaves[kCount][kMembers];
#pragma unroll
  for (int leaf = 0; leaf < kMembers; ++leaf) {
    const V one = first(leaf);
#pragma unroll
    for (int k = 0; k < kCount; ++k) leaves[k][leaf] = A::widen(one.values[k]);
    if (!tree.pair(leaf)) continue;
    const V other = second(leaf);
#pragma unroll
    for (int k = 0; k < kCount; ++k) leaves[k][leaf] += A::widen(other.values[k]);
  }
  V sum;
#pragma unroll
  for (int k = 0; k < kCount; ++k) sum.values[k] = A::narrow(tree.sum(leaves[k]));
  return sum;
}

/// Calls visit.template operator()<T, kMembers>() for the dtype and the number of ranks.
template <class T, class Visit>
void with_members(int ranks, Visit&& visit) {
  if (ranks < 4) return visit.template operator()<T, 2>();
  if (ranks < 8) return visit.template operator()<T, 4>();
  return visit.template operator()<T, 8>();
}
template <class Visit>
void with_type(Dtype dtype, int ranks, Visit&& visit) {
  if (dtype == Dtype::f32) with_members<float>(ranks, visit);
  if (dtype == Dtype::bf16) with_members<__nv_bfloat16>(ranks, visit);
  if (dtype == Dtype::f16) with_members<__half>(ranks, visit);
  if (dtype == Dtype::f64) with_members<double>(ranks, visit);
  if (dtype == Dtype::i32) with_members<std::int32_t>(ranks, visit);
}

}  // namespace lockstep::comm
