// Token embeddings and learned positions. The gradient of a token's row is the sum over the places where it
// stands: places are sorted by token (CUB's radix sort is stable), then the first place of every run adds the
// run in order, so bits repeat. A token outside the vocabulary reads as NaN, which stops the run as diverged.
#include <cub/device/device_radix_sort.cuh>
#include <variant>

#include "models/ops/cuda/gradient.cuh"
#include "models/ops/cuda/kernels.h"
#include "models/ops/cuda/lot.cuh"
#include "models/ops/cuda/rowwise.h"
#include "models/ops/cuda/vocabulary.h"

namespace lockstep::models::cuda {
namespace {

using namespace lockstep::cuda;

template <class T, int kCount>
__global__ void gather_kernel(const std::int32_t* ids, const T* weight, T* y, std::int64_t lots,
                              std::int64_t lots_a_row, std::int64_t vocabulary) {
  for (std::int64_t lot = first_item(); lot < lots; lot += stride()) {
    const std::int64_t id = ids[lot / lots_a_row];
    Lot<T, kCount> v;
    if (id >= 0 && id < vocabulary) {
      v = Lot<T, kCount>::load(weight + (id * lots_a_row + lot % lots_a_row) * kCount);
    } else {
      for (int i = 0; i < kCount; ++i) v.values[i] = from_float<T>(nanf(""));
    }
    v.store(y + lot * kCount);
  }
}

__global__ void number_kernel(std::int32_t* places, std::int64_t count) {
  for (std::int64_t i = first_item(); i < count; i += stride()) places[i] = static_cast<std::int32_t>(i);
}

/// One past the last place that holds the token of place `begin`.
__device__ std::int64_t end_of_run(const std::int32_t* ids, std::int64_t begin, std::int64_t tokens) {
  std::int64_t inside = begin, outside = tokens;
  while (outside - inside > 1) {
    const std::int64_t middle = (inside + outside) / 2;
    (ids[middle] == ids[begin] ? inside : outside) = middle;
  }
  return outside;
}

/// Block b works on the run that begins at sorted place b, if one does.
template <class T, int kCount>
__global__ void scatter_runs_kernel(const std::int32_t* ids, const std::int32_t* places, const T* dy,
                                    GradientSlot gradient, std::int64_t tokens, std::int64_t width,
                                    std::int64_t vocabulary) {
  const std::int64_t begin = blockIdx.x;
  const std::int32_t id = ids[begin];
  if (id < 0 || id >= vocabulary || (begin > 0 && ids[begin - 1] == id)) return;
  const std::int64_t end = end_of_run(ids, begin, tokens);
  for (std::int64_t column = threadIdx.x * kCount; column < width; column += blockDim.x * kCount) {
    float sum[kCount] = {};
#pragma unroll 8
    for (std::int64_t i = begin; i < end; ++i) {
      const auto v = Lot<T, kCount>::load(dy + places[i] * width + column);
#pragma unroll
      for (int c = 0; c < kCount; ++c) sum[c] += to_float(v.values[c]);
    }
#pragma unroll
    for (int c = 0; c < kCount; ++c) put(gradient, id * width + column + c, sum[c]);
  }
}

template <class T>
class EmbeddingKernel final : public CudaKernel {
 public:
  explicit EmbeddingKernel(const Site& site)
      : CudaKernel(site), op_(std::get<Embedding>(site.request.node->spec)), tokens_(site.input().count()) {
    check(cub::DeviceRadixSort::SortPairs(nullptr, sort_bytes_, ids(nullptr), ids(nullptr), ids(nullptr),
                                          ids(nullptr), tokens_),
          "DeviceRadixSort");
  }

  [[nodiscard]] std::vector<StorageOrderPtr> parameter_storage() const override {
    return {padded_embedding(op_.vocabulary, op_.width)};
  }
  [[nodiscard]] bool backward_needs_output() const override { return false; }
  [[nodiscard]] std::size_t workspace_bytes() const override { return 3 * list_bytes() + sort_bytes_; }

  void forward(const Pass& pass, Stream& stream) override {
    const T* weight = slot<T>(pass.working, 0);
    with_lots<T>(op_.width, aligned(weight), [&](auto lot) {
      constexpr int kCount = decltype(lot)::value;
      const std::int64_t lots_a_row = op_.width / kCount;
      gather_kernel<T, kCount>
          <<<blocks_for(tokens_ * lots_a_row, device()), kBlockThreads, 0, native(stream)>>>(
              in<std::int32_t>(), weight, out<T>(), tokens_ * lots_a_row, lots_a_row, op_.vocabulary);
    });
    check_launch("embedding");
  }

  void backward(const Pass& pass, Stream& stream) override {
    const cudaStream_t on = native(stream);
    GradientSlot gradient = gradient_slot(pass, 0);
    if (!gradient.add) {
      const auto count = static_cast<std::size_t>(padded_vocabulary(op_.vocabulary) * op_.width);
      check(cudaMemsetAsync(gradient.data, 0, count * size_of(gradient.dtype()), on), "cudaMemsetAsync");
      gradient.add = true;  // rows whose token stands nowhere stay zero
    }
    auto* places = workspace<std::int32_t>();
    auto* sorted_places = workspace<std::int32_t>(list_bytes());
    auto* sorted_ids = workspace<std::int32_t>(2 * list_bytes());
    number_kernel<<<blocks_for(tokens_, device()), kBlockThreads, 0, on>>>(places, tokens_);
    std::size_t bytes = sort_bytes_;
    check(cub::DeviceRadixSort::SortPairs(workspace<void>(3 * list_bytes()), bytes, in<std::int32_t>(),
                                          sorted_ids, places, sorted_places, tokens_, 0, 32, on),
          "DeviceRadixSort");
    with_lots<T>(op_.width, aligned(out_gradient<T>()), [&](auto lot) {
      constexpr int kCount = decltype(lot)::value;
      const auto threads =
          static_cast<unsigned>(std::clamp<std::int64_t>((op_.width / kCount + 31) / 32 * 32, 32, 256));
      scatter_runs_kernel<T, kCount><<<static_cast<unsigned>(tokens_), threads, 0, on>>>(
          sorted_ids, sorted_places, out_gradient<T>(), gradient, tokens_, op_.width, op_.vocabulary);
    });
    check_launch("embedding backward");
  }

 private:
  static std::int32_t* ids(std::int32_t* none) { return none; }
  [[nodiscard]] std::size_t list_bytes() const {
    return padded(static_cast<std::size_t>(tokens_) * sizeof(std::int32_t));
  }

  Embedding op_;
  std::int64_t tokens_;
  std::size_t sort_bytes_ = 0;
};

template <class T, int kCount>
__global__ void add_positions_kernel(const T* x, const T* weight, T* y, std::int64_t lots,
                                     std::int64_t lots_a_sample) {
  for (std::int64_t lot = first_item(); lot < lots; lot += stride()) {
    auto v = Lot<T, kCount>::load(x + lot * kCount);
    const auto w = Lot<T, kCount>::load(weight + lot % lots_a_sample * kCount);
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      v.values[i] = from_float<T>(to_float(v.values[i]) + to_float(w.values[i]));
    v.store(y + lot * kCount);
  }
}

/// The gradient of a position is the sum over samples; positions beyond the samples' length get none.
template <class T, int kCount>
__global__ void sum_samples_kernel(const T* dy, GradientSlot gradient, std::int64_t samples,
                                   std::int64_t sample, std::int64_t whole) {
  for (std::int64_t lot = first_item(); lot < whole / kCount; lot += stride()) {
    float sum[kCount] = {};
    if (lot * kCount < sample) {
#pragma unroll 4
      for (std::int64_t n = 0; n < samples; ++n) {
        const auto v = Lot<T, kCount>::load(dy + n * sample + lot * kCount);
#pragma unroll
        for (int i = 0; i < kCount; ++i) sum[i] += to_float(v.values[i]);
      }
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) put(gradient, lot * kCount + i, sum[i]);
  }
}

template <class T>
class PositionKernel final : public CudaKernel {
 public:
  explicit PositionKernel(const Site& site)
      : CudaKernel(site),
        samples_(site.input()[0]),
        sample_(site.input()[1] * site.input()[2]),
        width_(site.input()[2]),
        context_(std::get<PositionEmbedding>(site.request.node->spec).context) {}

  [[nodiscard]] std::vector<StorageOrderPtr> parameter_storage() const override { return {nullptr}; }
  [[nodiscard]] bool in_place() const override { return true; }
  [[nodiscard]] bool backward_needs_input(int) const override { return false; }
  [[nodiscard]] bool backward_needs_output() const override { return false; }

  void forward(const Pass& pass, Stream& stream) override {
    const T* weight = slot<T>(pass.working, 0);
    with_lots<T>(width_, aligned(weight), [&](auto lot) {
      constexpr int kCount = decltype(lot)::value;
      const std::int64_t lots = samples_ * sample_ / kCount;
      add_positions_kernel<T, kCount><<<blocks_for(lots, device()), kBlockThreads, 0, native(stream)>>>(
          in<T>(), weight, out<T>(), lots, sample_ / kCount);
    });
    check_launch("position_embedding");
  }

  void backward(const Pass& pass, Stream& stream) override {
    const cudaStream_t on = native(stream);
    with_lots<T>(width_, aligned(out_gradient<T>()), [&](auto lot) {
      constexpr int kCount = decltype(lot)::value;
      const std::int64_t whole = context_ * width_;
      sum_samples_kernel<T, kCount><<<blocks_for(whole / kCount, device(), 128), 128, 0, on>>>(
          out_gradient<T>(), gradient_slot(pass, 0), samples_, sample_, whole);
    });
    check_launch("position_embedding backward");
    if (in_gradient<T>() != nullptr)
      pass_on(out_gradient<T>(), in_gradient<T>(), samples_ * sample_, compute(), adds(), {device(), on});
  }

 private:
  std::int64_t samples_, sample_, width_, context_;
};

}  // namespace

std::unique_ptr<Kernel> make_embedding(const Site& site) { return make_typed<EmbeddingKernel>(site); }
std::unique_ptr<Kernel> make_position_embedding(const Site& site) { return make_typed<PositionKernel>(site); }

}  // namespace lockstep::models::cuda
