// Updates on the GPU: one launch over the whole flat array in packs of four elements, which also writes the
// working copy, so that no pass over the parameters is spent on a cast. LARS and LAMB find the norms of slots
// first (norms.cu). Gaps between slots hold zeros and stay zero.
#include <type_traits>

#include "core/cuda/element.cuh"
#include "core/error.h"
#include "trainer/cuda/kernels.h"
#include "trainer/optim/cuda/slot_tables.h"

namespace lockstep::trainer {

namespace {

using namespace lockstep::cuda;
using namespace lockstep::trainer::cuda;

struct Root {
  __host__ __device__ float operator()(float x) const { return sqrtf(x); }
};

/// Rule adapters: prepare() runs once a block and may take its time; numbers_of() per four elements, which
/// belong to one slot; element() returns the new value.
struct SgdUpdate {
  SgdRule rule;
  struct Shared {
    SgdNumbers decaying, plain;
  };
  using Numbers = SgdNumbers;
  __device__ Shared prepare(const StepScalars& scalars) const {
    return {sgd_numbers(rule, scalars, true), sgd_numbers(rule, scalars, false)};
  }
  __device__ __forceinline__ const Numbers& numbers_of(const Shared& shared, std::int32_t code) const {
    return code % 2 != 0 ? shared.decaying : shared.plain;
  }
  __device__ __forceinline__ float element(float w, float g, float& first, float& /*second*/,
                                           const Numbers& n) const {
    return sgd_element(w, g, first, n);
  }
};

__device__ AdamNumbers adam_numbers_of(const AdamRule& rule, const StepScalars& scalars, bool decays) {
  const auto t = static_cast<double>(scalars.step + 1);
  return adam_numbers(rule, scalars, pow(rule.beta1, t), pow(rule.beta2, t), decays);
}

struct AdamShared {
  AdamNumbers decaying, plain;
};

struct AdamUpdate {
  AdamRule rule;
  using Shared = AdamShared;
  using Numbers = AdamNumbers;
  __device__ Shared prepare(const StepScalars& scalars) const {
    return {adam_numbers_of(rule, scalars, true), adam_numbers_of(rule, scalars, false)};
  }
  __device__ __forceinline__ const Numbers& numbers_of(const Shared& shared, std::int32_t code) const {
    return code % 2 != 0 ? shared.decaying : shared.plain;
  }
  __device__ __forceinline__ float element(float w, float g, float& first, float& second,
                                           const Numbers& n) const {
    adam_moments(w, g, first, second, n);
    return w - n.rate * adam_direction(w, first, second, n, Root{});
  }
};

struct LarsUpdate {
  LarsRule rule;
  const float* ratios;
  struct Shared {
    StepScalars scalars;
  };
  using Numbers = LarsNumbers;
  __device__ Shared prepare(const StepScalars& scalars) const { return {scalars}; }
  __device__ __forceinline__ Numbers numbers_of(const Shared& shared, std::int32_t code) const {
    return lars_numbers(rule, shared.scalars, ratios[code / 2], code % 2 != 0);
  }
  __device__ __forceinline__ float element(float w, float g, float& first, float& /*second*/,
                                           const Numbers& n) const {
    return lars_element(w, g, first, n);
  }
};

/// The moments were moved by moments_kernel; the direction is computed a second time rather than kept.
struct LambUpdate {
  AdamRule rule;
  const float* ratios;
  using Shared = AdamShared;
  using Numbers = AdamNumbers;
  __device__ Shared prepare(const StepScalars& scalars) const {
    return {adam_numbers_of(rule, scalars, true), adam_numbers_of(rule, scalars, false)};
  }
  __device__ __forceinline__ Numbers numbers_of(const Shared& shared, std::int32_t code) const {
    Numbers numbers = code % 2 != 0 ? shared.decaying : shared.plain;
    numbers.rate *= ratios[code / 2];
    return numbers;
  }
  __device__ __forceinline__ float element(float w, float /*g*/, float& first, float& second,
                                           const Numbers& n) const {
    return w - n.rate * adam_direction(w, first, second, n, Root{});
  }
};

/// Four values in the working dtype.
template <class Working>
__device__ __forceinline__ void store_working(Working* working, std::int64_t quad, const float (&w)[4]) {
  union {
    Working values[4];
    uint2 bits;
  } out;
#pragma unroll
  for (int k = 0; k < 4; ++k) out.values[k] = from_float<Working>(w[k]);
  reinterpret_cast<uint2*>(working)[quad] = out.bits;
}

__device__ __forceinline__ void load(const float* from, std::int64_t quad, float (&x)[4]) {
  *reinterpret_cast<float4*>(x) = reinterpret_cast<const float4*>(from)[quad];
}
__device__ __forceinline__ void store(float* to, std::int64_t quad, const float (&x)[4]) {
  reinterpret_cast<float4*>(to)[quad] = *reinterpret_cast<const float4*>(x);
}

__device__ __forceinline__ void load(const __nv_bfloat16* from, std::int64_t quad, float (&x)[4]) {
  union {
    uint2 bits;
    __nv_bfloat16 values[4];
  } in;
  in.bits = reinterpret_cast<const uint2*>(from)[quad];
#pragma unroll
  for (int k = 0; k < 4; ++k) x[k] = to_float(in.values[k]);
}

struct Pointers {
  float* values;
  const void* gradients;
  float *first, *second;
  void* working;
};

/// `Working` is float where there is no working copy.
template <class Working, class Gradient, bool kTwoMoments, bool kMovesMoments, class Rule>
__global__ void __launch_bounds__(kBlockThreads)
    update_kernel(Pointers arrays, const std::int32_t* codes, std::int64_t quads, const StepScalars* scalars,
                  Rule rule) {
  if (scalars->skip != kSkipNone) return;
  __shared__ alignas(typename Rule::Shared) unsigned char room[sizeof(typename Rule::Shared)];
  auto& shared = *reinterpret_cast<typename Rule::Shared*>(room);
  if (threadIdx.x == 0) shared = rule.prepare(*scalars);
  __syncthreads();
  for (std::int64_t i = first_item(); i < quads; i += stride()) {
    alignas(16) float w[4], g[4] = {}, m[4], v[4] = {};
    load(arrays.values, i, w);
    if constexpr (kMovesMoments) load(static_cast<const Gradient*>(arrays.gradients), i, g);
    load(arrays.first, i, m);
    if constexpr (kTwoMoments) load(arrays.second, i, v);
    const auto& numbers = rule.numbers_of(shared, codes[i / (kSlotAlignment / 4)]);
#pragma unroll
    for (int k = 0; k < 4; ++k) w[k] = rule.element(w[k], g[k], m[k], v[k], numbers);
    store(arrays.values, i, w);
    if constexpr (kMovesMoments) store(arrays.first, i, m);
    if constexpr (kMovesMoments && kTwoMoments) store(arrays.second, i, v);
    if constexpr (!std::is_same_v<Working, float>) store_working(static_cast<Working*>(arrays.working), i, w);
  }
}

/// LAMB's first half: moves the moments and sums the squares of values and direction by tile.
template <class Gradient>
__global__ void moments_kernel(Pointers arrays, const Tile* tiles, const SlotTiles* slots, Squares* partial,
                               AdamRule rule, const StepScalars* scalars) {
  if (scalars->skip != kSkipNone) return;
  __shared__ double room[32];
  __shared__ AdamNumbers numbers;
  const Tile tile = tiles[blockIdx.x];
  if (threadIdx.x == 0) numbers = adam_numbers_of(rule, *scalars, slots[tile.slot].decays != 0);
  __syncthreads();
  Squares sum;
  for (int i = static_cast<int>(threadIdx.x); i < tile.count / 4; i += static_cast<int>(blockDim.x)) {
    const std::int64_t quad = tile.first / 4 + i;
    alignas(16) float w[4], g[4], m[4], v[4];
    load(arrays.values, quad, w);
    load(static_cast<const Gradient*>(arrays.gradients), quad, g);
    load(arrays.first, quad, m);
    load(arrays.second, quad, v);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      adam_moments(w[k], g[k], m[k], v[k], numbers);
      const double direction = adam_direction(w[k], m[k], v[k], numbers, Root{});
      sum.first += static_cast<double>(w[k]) * w[k];
      sum.second += direction * direction;
    }
    store(arrays.first, quad, m);
    store(arrays.second, quad, v);
  }
  sum.first = block_sum(sum.first, room);
  sum.second = block_sum(sum.second, room);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

Pointers pointers_of(const UpdateArrays& arrays) {
  return {static_cast<float*>(arrays.values.data), arrays.gradients.data,
          static_cast<float*>(arrays.first.data), static_cast<float*>(arrays.second.data),
          arrays.working.data};
}

template <bool kTwoMoments, bool kMovesMoments = true, class Rule>
void launch(const UpdateArrays& arrays, const SlotTables& tables, const Rule& rule,
            const StepScalars* scalars, cudaStream_t on) {
  const std::int64_t quads = arrays.values.count / 4;
  if (quads == 0) return;
  const auto run = [&]<class Working, class Gradient = float>(Working*, Gradient* = nullptr) {
    update_kernel<Working, Gradient, kTwoMoments, kMovesMoments>
        <<<blocks_for(quads, arrays.values.device), kBlockThreads, 0, on>>>(
            pointers_of(arrays), tables.codes(), quads, scalars, rule);
  };
  if (arrays.gradients.dtype == Dtype::bf16) {
    run(static_cast<__nv_bfloat16*>(nullptr), static_cast<__nv_bfloat16*>(nullptr));
  } else if (arrays.working.count == 0) {
    run(static_cast<float*>(nullptr));
  } else if (arrays.working.dtype == Dtype::bf16) {
    run(static_cast<__nv_bfloat16*>(nullptr));
  } else if (arrays.working.dtype == Dtype::f16) {
    run(static_cast<__half*>(nullptr));
  } else {
    throw Error(Fault::internal, "no working copy in " + std::string(name_of(arrays.working.dtype)));
  }
  check_launch("optimizer update");
}

class CudaUpdater final : public Updater {
 public:
  CudaUpdater(const SlotLayout& layout, Device device) : tables_(layout, device) {}

  void sgd(const UpdateArrays& arrays, const SgdRule& rule, const StepScalars* scalars,
           Stream& stream) override {
    launch<false>(arrays, tables_, SgdUpdate{rule}, scalars, native(stream));
  }

  void adam(const UpdateArrays& arrays, const AdamRule& rule, const StepScalars* scalars,
            Stream& stream) override {
    launch<true>(arrays, tables_, AdamUpdate{rule}, scalars, native(stream));
  }

  void lars(const UpdateArrays& arrays, const LarsRule& rule, const StepScalars* scalars,
            Stream& stream) override {
    const cudaStream_t on = native(stream);
    const Pointers pointers = pointers_of(arrays);
    tile_norms(tables_, pointers.values, arrays.gradients, scalars, on);
    lars_ratios(tables_, rule, scalars, on);
    launch<false>(arrays, tables_, LarsUpdate{rule, tables_.ratios()}, scalars, on);
  }

  void lamb(const UpdateArrays& arrays, const AdamRule& rule, const StepScalars* scalars,
            Stream& stream) override {
    if (tables_.tile_count() == 0) return;
    const cudaStream_t on = native(stream);
    const auto move = [&]<class Gradient>(Gradient*) {
      moments_kernel<Gradient><<<tables_.tile_count(), kBlockThreads, 0, on>>>(
          pointers_of(arrays), tables_.tiles(), tables_.slots(), tables_.partial(), rule, scalars);
    };
    if (arrays.gradients.dtype == Dtype::bf16)
      move(static_cast<__nv_bfloat16*>(nullptr));
    else
      move(static_cast<float*>(nullptr));
    check_launch("moments");
    lamb_ratios(tables_, scalars, on);
    launch<true, false>(arrays, tables_, LambUpdate{rule, tables_.ratios()}, scalars, on);
  }

 private:
  SlotTables tables_;
};

}  // namespace

std::unique_ptr<Updater> make_cuda_updater(const SlotLayout& layout, Device device) {
  return std::make_unique<CudaUpdater>(layout, device);
}

}  // namespace lockstep::trainer
