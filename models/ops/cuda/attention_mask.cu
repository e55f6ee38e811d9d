#include "models/ops/cuda/attention_mask.h"

#include "models/ops/cuda/lot.cuh"

namespace lockstep::models::cuda {
namespace {

using namespace lockstep::cuda;

/// Four elements of sample blockIdx.y at a time, which one draw decides; the last of a sample may be fewer.
/// 32 bits count a sample's elements.
template <class T>
__global__ void keep_kernel(T* mask, MaskRows rows, Drops drops) {
  const auto time = static_cast<std::uint32_t>(rows.time);
  const std::uint32_t elements = static_cast<std::uint32_t>(rows.heads) * time * time;
  const std::int64_t sample = blockIdx.y;
  T* const to = mask + sample * elements;
  for (std::uint32_t quad = first_item(); quad < (elements + 3) / 4; quad += stride()) {
    std::uint32_t row = quad * 4 / time, col = quad * 4 - row * time;
    row %= time;
    float4 four{};  // a quad behind the diagonal needs no draw
    if (col <= row || col + 3 >= time) four = drop_factors(drops, rows.first + sample, quad);
    const float factors[4] = {four.x, four.y, four.z, four.w};
    T kept[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      kept[i] = from_float<T>(col <= row ? factors[i] : 0.0F);
      if (++col == time) col = 0, row = row + 1 == time ? 0 : row + 1;
    }
    if (elements % 4 == 0) {
      *reinterpret_cast<uint2*>(to + quad * 4) = *reinterpret_cast<const uint2*>(kept);
    } else {
      for (int i = 0; i < 4 && quad * 4 + i < elements; ++i) to[quad * 4 + i] = kept[i];
    }
  }
}

}  // namespace

void keep_mask(void* mask, const MaskRows& rows, const Drops& drops, const On& on) {
  const std::int64_t quads = (rows.heads * rows.time * rows.time + 3) / 4;
  const dim3 blocks(static_cast<unsigned>(blocks_for(quads, on.device)), static_cast<unsigned>(rows.samples));
  if (rows.dtype == Dtype::bf16)
    keep_kernel<<<blocks, kBlockThreads, 0, on.stream>>>(static_cast<__nv_bfloat16*>(mask), rows, drops);
  else
    keep_kernel<<<blocks, kBlockThreads, 0, on.stream>>>(static_cast<__half*>(mask), rows, drops);
  check_launch("attention mask");
}

}  // namespace lockstep::models::cuda
