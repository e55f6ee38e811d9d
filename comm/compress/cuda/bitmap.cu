// Sets of indices as bitmaps on the GPU, and back.
#include "comm/compress/cuda/cuda_kernels.h"
#include "comm/compress/cuda/in_order.cuh"

namespace lockstep::comm {
namespace {

using namespace gpu;

/// Indices of a thread: neighbours change one word by one atomic operation.
constexpr std::int64_t kTogether = 8;

/// Sets the bits of indices [first, end).
__device__ void set_bits(const std::int32_t* indices, std::int64_t first, std::int64_t end,
                         std::uint32_t* words) {
  std::uint32_t word = static_cast<std::uint32_t>(indices[first]) / 32, bits = 0;
  for (std::int64_t j = first; j < end; ++j) {
    const auto index = static_cast<std::uint32_t>(indices[j]);
    if (index / 32 != word) {
      atomicOr(&words[word], bits);
      word = index / 32;
      bits = 0;
    }
    bits |= 1u << index % 32;
  }
  atomicOr(&words[word], bits);
}

/// Bits [first, first + kEach) of a tile, those behind its end zero.
__device__ __forceinline__ std::uint32_t bits_of(const std::uint32_t* words, const Tile& tile, int first) {
  const int count = min(kEach, tile.count - first);
  if (count <= 0) return 0;
  const std::int64_t word = (tile.first + first) / 32;
  const int shift = static_cast<int>((tile.first + first) % 32);
  std::uint32_t bits = words[word] >> shift;
  if (shift + count > 32) bits |= words[word + 1] << (32 - shift);
  return bits & ((1u << count) - 1u);
}
static_assert(kEach < 32);

}  // namespace

void cuda_to_bitmap(FlatSpan indices, FlatSpan words, Stream& stream) {
  if (words.count == 0) return;
  lockstep::cuda::check(cudaMemsetAsync(words.data, 0, words.bytes(), native(stream)), "cudaMemsetAsync");
  const std::int32_t* places = integers_of(indices);
  const std::int64_t count = indices.count;
  auto* bitmap = static_cast<std::uint32_t*>(words.data);
  each_item((count + kTogether - 1) / kTogether, stream, "to_bitmap", [=] __device__(std::int64_t i) {
    set_bits(places, i * kTogether, min((i + 1) * kTogether, count), bitmap);
  });
}

void cuda_from_bitmap(FlatSpan words, Runs runs, FlatSpan indices, Stream& stream) {
  RunNotes& notes = notes_of(*runs, stream.device());
  notes.prepare_selection(*runs);
  if (notes.tiles() == 0) return;
  const auto* bitmap = static_cast<const std::uint32_t*>(words.data);
  const std::int64_t* outputs = notes.outputs();
  std::int32_t* out = integers_of(indices);
  in_order(
      notes, static_cast<int>(runs->list.size()), stream, "from_bitmap",
      [=] __device__(const Tile& tile, int first) {
        return static_cast<std::uint64_t>(__popc(bits_of(bitmap, tile, first)));
      },
      [=] __device__(const Tile& tile, int first, std::uint64_t before) {
        std::int32_t* next = out + outputs[tile.run] + before;
        const auto index = static_cast<std::int32_t>(tile.first + first);
        for (std::uint32_t bits = bits_of(bitmap, tile, first); bits != 0; bits &= bits - 1)
          *next++ = index + __ffs(static_cast<int>(bits)) - 1;
      });
}

}  // namespace lockstep::comm
