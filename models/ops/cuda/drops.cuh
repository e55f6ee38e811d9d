// Dropout's masks on the GPU: the same bits as models/ops/dropout_mask.h, from Philox4x32-10 (core/random.h).
#pragma once

#include <cstdint>
#include <string>

#include "models/ops/dropout_mask.h"
#include "models/ops/kernel.h"

namespace lockstep::models::cuda {

/// The masks of one pass over one node; lives in kernel arguments. Inactive: everything is kept as it is.
struct Drops {
  std::uint32_t key0 = 0, key1 = 0;
  std::uint32_t threshold = 0;
  float kept = 1;  ///< factor of kept elements
  bool active = false;
  std::int64_t first_sample = 0;
  const std::int64_t* first_sample_at = nullptr;
};

[[nodiscard]] inline Drops drops_of(const Pass& pass, const std::string& node, float rate) {
  if (pass.mode != Mode::train || rate == 0) return {};
  const auto key = dropout_source(pass.seed, node, 0).key();
  return {key[0],
          key[1],
          dropout_threshold(rate),
          1.0F / (1.0F - rate),
          true,
          pass.first_sample,
          pass.first_sample_at};
}

#ifdef __CUDACC__
__device__ __forceinline__ uint4 philox(uint4 counter, std::uint32_t key0, std::uint32_t key1) {
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const std::uint32_t high0 = __umulhi(0xd2511f53U, counter.x), low0 = 0xd2511f53U * counter.x;
    const std::uint32_t high1 = __umulhi(0xcd9e8d57U, counter.z), low1 = 0xcd9e8d57U * counter.z;
    counter = {high1 ^ counter.y ^ key0, low1, high0 ^ counter.w ^ key1, low0};
    key0 += 0x9e3779b9U;
    key1 += 0xbb67ae85U;
  }
  return counter;
}

/// Factors of elements 4 block .. 4 block + 3 of the microbatch's sample `sample`.
__device__ __forceinline__ float4 drop_factors(const Drops& d, std::int64_t sample, std::uint64_t block) {
  if (!d.active) return {1, 1, 1, 1};
  const auto index = static_cast<std::uint64_t>(
      (d.first_sample_at == nullptr ? d.first_sample : *d.first_sample_at) + sample);
  const uint4 words = philox({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                              static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32)},
                             d.key0, d.key1);
  const auto factor = [&](std::uint32_t word) { return (word >> 8) >= d.threshold ? d.kept : 0.0F; };
  return {factor(words.x), factor(words.y), factor(words.z), factor(words.w)};
}
__device__ __forceinline__ float drop_factor(const Drops& d, std::int64_t sample, std::uint64_t element) {
  if (!d.active) return 1;
  const float4 four = drop_factors(d, sample, element / 4);
  const unsigned word = element % 4;
  return word == 0 ? four.x : word == 1 ? four.y : word == 2 ? four.z : four.w;
}
#endif

}  // namespace lockstep::models::cuda
