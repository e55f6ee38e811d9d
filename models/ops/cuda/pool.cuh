// What the pools share.
#pragma once

#include "core/error.h"
#include "models/ops/cuda/image_walk.cuh"
#include "models/ops/cuda/kernel_base.h"

namespace lockstep::models::cuda {

struct Window {
  int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
};
template <class Pool>
[[nodiscard]] Window window_of(const Pool& op) {
  const auto narrow = [](std::int64_t i) { return static_cast<int>(i); };
  return {narrow(op.kernel[0]), narrow(op.kernel[1]),  narrow(op.stride[0]),
          narrow(op.stride[1]), narrow(op.padding[0]), narrow(op.padding[1])};
}

/// Indices [first, last) of a line.
struct Range {
  int first, last;
};
/// What output `i` covers of a line of `extent`.
__device__ __forceinline__ Range covered(int i, int kernel, int stride, int pad, int extent) {
  const int from = i * stride - pad;
  return {max(from, 0), min(from + kernel, extent)};
}
/// Which of `outputs` outputs cover input `i`.
__device__ __forceinline__ Range covering(int i, int kernel, int stride, int pad, int outputs) {
  const int before = i + pad - kernel;  // outputs up to before / stride end ahead of i
  return {before < 0 ? 0 : before / stride + 1, min((i + pad) / stride + 1, outputs)};
}

/// Puts a lot of gradients to where input place i lies.
template <class T, int kLot>
__device__ __forceinline__ void put(T* dx, std::int64_t i, const float (&sum)[kLot], bool add) {
  T* to = dx + i * kLot;
  Lot<T, kLot> result;
  if (add) result = Lot<T, kLot>::load(to);
#pragma unroll
  for (int k = 0; k < kLot; ++k)
    result.values[k] =
        lockstep::cuda::from_float<T>(add ? lockstep::cuda::to_float(result.values[k]) + sum[k] : sum[k]);
  result.store(to);
}

/// Backward needs neither input nor output.
template <class T>
class PoolKernel : public CudaKernel {
 public:
  explicit PoolKernel(const Site& site) : CudaKernel(site), in_(site.input()), out_(site.output()) {
    if (in_.count() > INT32_MAX)
      throw Error(Fault::config, "a pool over 2^31 elements or more", "use a smaller batch.microbatch");
  }
  [[nodiscard]] bool backward_needs_input(int) const final { return false; }
  [[nodiscard]] bool backward_needs_output() const final { return false; }

 protected:
  /// Calls run<channels of a thread>().
  template <class Run>
  void with_channels(const Run& run) const {
    with_lots<T>(in_[1], true, [&](auto lot) { run.template operator()<decltype(lot)::value>(); });
  }
  [[nodiscard]] int blocks(const ImageSize& size) const {
    return lockstep::cuda::blocks_for(static_cast<std::int64_t>(size.places()), device());
  }
  Shape in_, out_;
};

}  // namespace lockstep::models::cuda
