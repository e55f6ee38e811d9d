// Average pooling over channels-last images. Forward gathers a window for each output, backward gathers for
// each input from the windows that cover it, so nothing is added atomically.
#include <variant>

#include "models/ops/cuda/kernels.h"
#include "models/ops/cuda/pool.cuh"

namespace lockstep::models::cuda {
namespace {

using namespace lockstep::cuda;

__device__ __forceinline__ float divisor(const Window& w, const Range& rows, const Range& cols,
                                         bool count_padding) {
  return static_cast<float>(count_padding ? w.kernel_h * w.kernel_w
                                          : (rows.last - rows.first) * (cols.last - cols.first));
}

template <class T, int kLot>
__global__ void average_kernel(Window w, ImageSize in, ImageSize out, const T* x, T* y, bool count_padding) {
  const std::uint32_t step = gridDim.x * blockDim.x;
  for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < out.places(); i += step) {
    const Spot spot = spot_of(i, out);
    const Range rows = covered(spot.row, w.kernel_h, w.stride_h, w.pad_h, static_cast<int>(in.h));
    const Range cols = covered(spot.col, w.kernel_w, w.stride_w, w.pad_w, static_cast<int>(in.w));
    float sum[kLot] = {};
    for (int row = rows.first; row < rows.last; ++row)
      for (int col = cols.first; col < cols.last; ++col) {
        const auto v = Lot<T, kLot>::load(x + place_of(spot, row, col, in) * kLot);
#pragma unroll
        for (int k = 0; k < kLot; ++k) sum[k] += to_float(v.values[k]);
      }
    const float by = divisor(w, rows, cols, count_padding);
#pragma unroll
    for (int k = 0; k < kLot; ++k) sum[k] /= by;
    put<T, kLot>(y, i, sum, false);
  }
}

template <class T, int kLot>
__global__ void average_backward_kernel(Window w, ImageSize in, ImageSize out, const T* dy, T* dx,
                                        bool count_padding, bool add) {
  const std::uint32_t step = gridDim.x * blockDim.x;
  for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < in.places(); i += step) {
    const Spot spot = spot_of(i, in);
    const Range rows = covering(spot.row, w.kernel_h, w.stride_h, w.pad_h, static_cast<int>(out.h));
    const Range cols = covering(spot.col, w.kernel_w, w.stride_w, w.pad_w, static_cast<int>(out.w));
    float sum[kLot] = {};
    for (int p = rows.first; p < rows.last; ++p) {
      const Range down = covered(p, w.kernel_h, w.stride_h, w.pad_h, static_cast<int>(in.h));
      for (int q = cols.first; q < cols.last; ++q) {
        const Range across = covered(q, w.kernel_w, w.stride_w, w.pad_w, static_cast<int>(in.w));
        const float by = divisor(w, down, across, count_padding);
        const auto d = Lot<T, kLot>::load(dy + place_of(spot, p, q, out) * kLot);
#pragma unroll
        for (int k = 0; k < kLot; ++k) sum[k] += to_float(d.values[k]) / by;
      }
    }
    put<T, kLot>(dx, i, sum, add);
  }
}

template <class T>
class AveragePoolKernel final : public PoolKernel<T> {
 public:
  explicit AveragePoolKernel(const Site& site)
      : PoolKernel<T>(site),
        window_(window_of(std::get<AveragePool>(site.request.node->spec))),
        count_padding_(std::get<AveragePool>(site.request.node->spec).count_padding) {}

  void forward(const Pass&, Stream& stream) override {
    this->with_channels([&]<int kLot>() {
      const ImageSize in = image_size(this->in_, kLot), out = image_size(this->out_, kLot);
      average_kernel<T, kLot><<<this->blocks(out), kBlockThreads, 0, native(stream)>>>(
          window_, in, out, this->template in<T>(), this->template out<T>(), count_padding_);
    });
    check_launch("average pool");
  }
  void backward(const Pass&, Stream& stream) override {
    T* dx = this->template in_gradient<T>();
    if (dx == nullptr) return;
    this->with_channels([&]<int kLot>() {
      const ImageSize in = image_size(this->in_, kLot), out = image_size(this->out_, kLot);
      average_backward_kernel<T, kLot><<<this->blocks(in), kBlockThreads, 0, native(stream)>>>(
          window_, in, out, this->template out_gradient<T>(), dx, count_padding_, this->adds());
    });
    check_launch("average pool backward");
  }

 private:
  Window window_;
  bool count_padding_;
};

}  // namespace

std::unique_ptr<Kernel> make_average_pool(const Site& site) { return make_typed<AveragePoolKernel>(site); }

}  // namespace lockstep::models::cuda
