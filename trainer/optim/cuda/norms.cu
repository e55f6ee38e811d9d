// Norms by slot, in two passes: a block sums a tile, then a warp adds the tiles of its slot in a fixed order,
// so bits repeat.
#include <algorithm>
#include <type_traits>
#include <vector>

#include "core/cuda/element.cuh"
#include "core/cuda/on_device.h"
#include "trainer/optim/cuda/slot_tables.h"

namespace lockstep::trainer::cuda {

namespace {

using namespace lockstep::cuda;

__device__ __forceinline__ double squares(float4 x) {
  return static_cast<double>(x.x) * x.x + static_cast<double>(x.y) * x.y + static_cast<double>(x.z) * x.z +
         static_cast<double>(x.w) * x.w;
}

__device__ __forceinline__ double squares(const float* from, int quad) {
  return squares(reinterpret_cast<const float4*>(from)[quad]);
}
__device__ __forceinline__ double squares(const __nv_bfloat16* from, int quad) {
  const __nv_bfloat16* x = from + quad * 4;
  return squares(float4{to_float(x[0]), to_float(x[1]), to_float(x[2]), to_float(x[3])});
}

template <class Gradient>
__global__ void tile_norms_kernel(const Tile* tiles, const float* values, const Gradient* gradients,
                                  Squares* partial, const StepScalars* scalars) {
  if (scalars->skip != kSkipNone) return;
  __shared__ double room[32];
  const Tile tile = tiles[blockIdx.x];
  Squares sum;
  for (int i = static_cast<int>(threadIdx.x); i < tile.count / 4; i += static_cast<int>(blockDim.x)) {
    sum.first += squares(values + tile.first, i);
    sum.second += squares(gradients + tile.first, i);
  }
  sum.first = block_sum(sum.first, room);
  sum.second = block_sum(sum.second, room);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

/// A warp per slot.
__device__ __forceinline__ Squares slot_sum(const SlotTiles& slot, const Squares* partial) {
  Squares sum;
  for (int i = static_cast<int>(threadIdx.x); i < slot.tiles; i += 32) {
    sum.first += partial[slot.first_tile + i].first;
    sum.second += partial[slot.first_tile + i].second;
  }
  return {warp_sum(sum.first), warp_sum(sum.second)};
}

__global__ void lars_ratios_kernel(const SlotTiles* slots, const Squares* partial, float* ratios,
                                   LarsRule rule, const StepScalars* scalars) {
  if (scalars->skip != kSkipNone) return;
  const SlotTiles slot = slots[blockIdx.x];
  const Squares sum = slot_sum(slot, partial);
  const float scale = scalars->gradient_scale * scalars->clip_factor;
  if (threadIdx.x == 0)
    ratios[blockIdx.x] = static_cast<float>(
        slot.decays != 0 ? lars_ratio(sqrt(sum.first), sqrt(sum.second), scale, rule) : 1.0);
}

__global__ void lamb_ratios_kernel(const SlotTiles* slots, const Squares* partial, float* ratios,
                                   const StepScalars* scalars) {
  if (scalars->skip != kSkipNone) return;
  const SlotTiles slot = slots[blockIdx.x];
  const Squares sum = slot_sum(slot, partial);
  if (threadIdx.x == 0) ratios[blockIdx.x] = lamb_ratio(sqrt(sum.first), sqrt(sum.second), slot.decays != 0);
}

}  // namespace

SlotTables::SlotTables(const SlotLayout& layout, Device device) {
  std::vector<std::int32_t> codes(static_cast<std::size_t>(layout.stored_count() / kSlotAlignment));
  std::vector<Tile> tiles;
  std::vector<SlotTiles> slots;
  for (const Slot& slot : layout.slots()) {
    const auto index = static_cast<std::int32_t>(slots.size());
    const std::int64_t blocks = (slot.stored_count + kSlotAlignment - 1) / kSlotAlignment;
    std::fill_n(codes.begin() + slot.offset / kSlotAlignment, blocks, 2 * index + (slot.decays ? 1 : 0));
    SlotTiles own{.first_tile = static_cast<std::int32_t>(tiles.size()), .decays = slot.decays ? 1 : 0};
    for (std::int64_t done = 0; done < slot.stored_count; done += kTileElements) {
      const std::int64_t left = (slot.stored_count - done + 3) / 4 * 4;
      tiles.push_back({slot.offset + done, static_cast<std::int32_t>(std::min(left, kTileElements)), index});
    }
    own.tiles = static_cast<std::int32_t>(tiles.size()) - own.first_tile;
    slots.push_back(own);
  }
  codes_ = on_device(codes, device);
  tiles_ = on_device(tiles, device);
  slots_ = on_device(slots, device);
  partial_ = allocate(device, tiles.size() * sizeof(Squares));
  ratios_ = allocate(device, slots.size() * sizeof(float));
  tile_count_ = static_cast<int>(tiles.size());
  slot_count_ = static_cast<int>(slots.size());
}

void tile_norms(const SlotTables& tables, const float* values, FlatSpan gradients, const StepScalars* scalars,
                cudaStream_t stream) {
  if (tables.tile_count() == 0) return;
  with_device_float(gradients.dtype, [&]<class T>(T*) {
    if constexpr (std::is_same_v<T, float> || std::is_same_v<T, __nv_bfloat16>)
      tile_norms_kernel<<<tables.tile_count(), kBlockThreads, 0, stream>>>(
          tables.tiles(), values, static_cast<const T*>(gradients.data), tables.partial(), scalars);
  });
  check_launch("tile_norms");
}

void lars_ratios(const SlotTables& tables, const LarsRule& rule, const StepScalars* scalars,
                 cudaStream_t stream) {
  if (tables.slot_count() == 0) return;
  lars_ratios_kernel<<<tables.slot_count(), 32, 0, stream>>>(tables.slots(), tables.partial(),
                                                             tables.ratios(), rule, scalars);
  check_launch("lars_ratios");
}

void lamb_ratios(const SlotTables& tables, const StepScalars* scalars, cudaStream_t stream) {
  if (tables.slot_count() == 0) return;
  lamb_ratios_kernel<<<tables.slot_count(), 32, 0, stream>>>(tables.slots(), tables.partial(),
                                                             tables.ratios(), scalars);
  check_launch("lamb_ratios");
}

}  // namespace lockstep::trainer::cuda
