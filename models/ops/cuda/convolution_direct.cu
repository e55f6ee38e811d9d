// Convolutions as plain loops, one thread an element that is written: for the geometries and dtypes that
// cuDNN has no engine for (odd depthwise convolutions, transposed ones with uneven padding). Sums are f32, in
// a fixed order.
#include "core/cuda/element.cuh"
#include "models/ops/cuda/convolution_plan.h"

namespace lockstep::models::cuda {
namespace {

using namespace lockstep::cuda;

/// Sizes as the device code wants them: image [n, h, w, c], result [n, p, q, k], weight [k, r, s, cg].
struct Sizes {
  int n, h, w, c, p, q, k, r, s, cg, kg;
  int stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
};

Sizes sizes_of(const ConvolutionGeometry& g) {
  const auto narrow = [](std::int64_t i) { return static_cast<int>(i); };
  return {narrow(g.image[0]),
          narrow(g.image[2]),
          narrow(g.image[3]),
          narrow(g.image[1]),
          narrow(g.result[2]),
          narrow(g.result[3]),
          narrow(g.result[1]),
          narrow(g.kernel[0]),
          narrow(g.kernel[1]),
          narrow(g.image[1] / g.groups),
          narrow(g.result[1] / g.groups),
          narrow(g.stride[0]),
          narrow(g.stride[1]),
          narrow(g.padding[0]),
          narrow(g.padding[1]),
          narrow(g.dilation[0]),
          narrow(g.dilation[1])};
}

template <class T>
__device__ __forceinline__ void put(T* to, float value, bool add) {
  *to = from_float<T>(add ? to_float(*to) + value : value);
}

template <class T>
__device__ float result_at(const Sizes& z, const T* image, const T* weight, int n, int p, int q, int k) {
  const int channel = k / z.kg * z.cg;
  float sum = 0;
  for (int r = 0; r < z.r; ++r) {
    const int y = p * z.stride_h - z.pad_h + r * z.dilation_h;
    if (y < 0 || y >= z.h) continue;
    for (int s = 0; s < z.s; ++s) {
      const int x = q * z.stride_w - z.pad_w + s * z.dilation_w;
      if (x < 0 || x >= z.w) continue;
      const T* from = image + ((static_cast<std::int64_t>(n) * z.h + y) * z.w + x) * z.c + channel;
      const T* by = weight + ((static_cast<std::int64_t>(k) * z.r + r) * z.s + s) * z.cg;
      for (int c = 0; c < z.cg; ++c) sum += to_float(from[c]) * to_float(by[c]);
    }
  }
  return sum;
}

template <class T>
__global__ void forward_kernel(Sizes z, const T* image, const T* weight, T* result, std::int64_t count,
                               bool add) {
  for (std::int64_t i = first_item(); i < count; i += stride()) {
    const int k = static_cast<int>(i % z.k), q = static_cast<int>(i / z.k % z.q);
    const std::int64_t row = i / z.k / z.q;
    put(result + i,
        result_at(z, image, weight, static_cast<int>(row / z.p), static_cast<int>(row % z.p), q, k), add);
  }
}

/// The result row (or column) that tap `tap` maps image row `y` to, or -1.
__device__ __forceinline__ int source(int y, int tap, int stride, int pad, int dilation, int extent) {
  const int at = y + pad - tap * dilation;
  if (at < 0 || at % stride != 0 || at / stride >= extent) return -1;
  return at / stride;
}

template <class T>
__device__ float image_gradient_at(const Sizes& z, const T* weight, const T* result, int n, int y, int x,
                                   int c) {
  const int k0 = c / z.cg * z.kg;
  float sum = 0;
  for (int r = 0; r < z.r; ++r) {
    const int p = source(y, r, z.stride_h, z.pad_h, z.dilation_h, z.p);
    if (p < 0) continue;
    for (int s = 0; s < z.s; ++s) {
      const int q = source(x, s, z.stride_w, z.pad_w, z.dilation_w, z.q);
      if (q < 0) continue;
      const T* from = result + ((static_cast<std::int64_t>(n) * z.p + p) * z.q + q) * z.k + k0;
      for (int k = 0; k < z.kg; ++k) {
        const std::int64_t at = ((static_cast<std::int64_t>(k0 + k) * z.r + r) * z.s + s) * z.cg + c % z.cg;
        sum += to_float(from[k]) * to_float(weight[at]);
      }
    }
  }
  return sum;
}

template <class T>
__global__ void image_gradient_kernel(Sizes z, T* image, const T* weight, const T* result, std::int64_t count,
                                      bool add) {
  for (std::int64_t i = first_item(); i < count; i += stride()) {
    const int c = static_cast<int>(i % z.c), x = static_cast<int>(i / z.c % z.w);
    const std::int64_t row = i / z.c / z.w;
    put(image + i,
        image_gradient_at(z, weight, result, static_cast<int>(row / z.h), static_cast<int>(row % z.h), x, c),
        add);
  }
}

/// A block sums one weight's gradient over images and places.
template <class T, class W>
__global__ void weight_gradient_kernel(Sizes z, const T* image, W* weight, const T* result, bool add) {
  __shared__ float room[32];
  const int c = blockIdx.x % z.cg, s = blockIdx.x / z.cg % z.s, r = blockIdx.x / z.cg / z.s % z.r;
  const int k = blockIdx.x / z.cg / z.s / z.r;
  const std::int64_t places = static_cast<std::int64_t>(z.n) * z.p * z.q;
  float sum = 0;
  for (std::int64_t i = threadIdx.x; i < places; i += blockDim.x) {
    const int q = static_cast<int>(i % z.q), p = static_cast<int>(i / z.q % z.p);
    const std::int64_t n = i / z.q / z.p;
    const int y = p * z.stride_h - z.pad_h + r * z.dilation_h,
              x = q * z.stride_w - z.pad_w + s * z.dilation_w;
    if (y < 0 || y >= z.h || x < 0 || x >= z.w) continue;
    sum += to_float(image[((n * z.h + y) * z.w + x) * z.c + k / z.kg * z.cg + c]) *
           to_float(result[i * z.k + k]);
  }
  sum = block_sum(sum, room);
  if (threadIdx.x == 0) put(weight + blockIdx.x, sum, add);
}

class DirectPlan final : public ConvolutionPlan {
 public:
  explicit DirectPlan(const ConvolutionRequest& request)
      : request_(request), sizes_(sizes_of(request.geometry)) {}

  [[nodiscard]] std::size_t workspace_bytes() const override { return 0; }
  [[nodiscard]] double measured_ms() const override { return 0; }
  void run(const ConvolutionArrays& arrays, void*, cudaStream_t stream) const override {
    with_device_float(request_.dtype, [&]<class T>(T*) { run_typed<T>(arrays, stream); });
    check_launch("direct convolution");
  }

 private:
  template <class T>
  void run_typed(const ConvolutionArrays& arrays, cudaStream_t on) const {
    auto* image = static_cast<T*>(arrays.image);
    auto* weight = static_cast<T*>(arrays.weight);
    auto* result = static_cast<T*>(arrays.result);
    const auto blocks = [&](std::int64_t count) { return blocks_for(count, request_.device); };
    if (request_.direction == Direction::forward) {
      const std::int64_t count = request_.geometry.result.count();
      forward_kernel<<<blocks(count), kBlockThreads, 0, on>>>(sizes_, image, weight, result, count,
                                                              request_.add);
    } else if (request_.direction == Direction::image_gradient) {
      const std::int64_t count = request_.geometry.image.count();
      image_gradient_kernel<<<blocks(count), kBlockThreads, 0, on>>>(sizes_, image, weight, result, count,
                                                                     request_.add);
    } else {
      const auto count = static_cast<unsigned>(request_.geometry.weight().count());
      with_device_float(request_.written, [&]<class W>(W*) {
        weight_gradient_kernel<<<count, kBlockThreads, 0, on>>>(sizes_, image, static_cast<W*>(arrays.weight),
                                                                result, request_.add);
      });
    }
  }

  ConvolutionRequest request_;
  Sizes sizes_;
};

}  // namespace

ConvolutionPlanPtr direct_convolution(const ConvolutionRequest& request) {
  return std::make_shared<DirectPlan>(request);
}

}  // namespace lockstep::models::cuda
