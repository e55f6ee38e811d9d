// Layer norm over the last axis. A warp holds a row in registers, so every tensor is read once and written
// once each way; mean and 1 / deviation are saved in f32. Gradients of weight and bias are summed by every
// block over its rows, then over blocks, in an order that the shape alone fixes. Rows that no warp can hold,
// or that packs of 16 bytes do not divide, take a block each and are read again from the cache.
#include <variant>

#include "models/ops/cuda/kernels.h"
#include "models/ops/cuda/lot.cuh"

namespace lockstep::models::cuda {
namespace {

using namespace lockstep::cuda;

constexpr int kWarps = 8;  // rows at a time in a block
constexpr int kThreads = 32 * kWarps;

struct Moments {
  float mean, inverse;
};

// Rows in registers: lane l of the warp holds packs l, l + 32, ...

template <class T, int kPacks>
__device__ __forceinline__ void load_row(const T* row, std::int64_t width,
                                         float (&to)[kPacks][Pack<T>::kCount]) {
  constexpr int kCount = Pack<T>::kCount;
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    const std::int64_t at = (threadIdx.x % 32 + p * 32) * kCount;
    if (at < width) {
      const auto pack = Pack<T>::load(row + at);
#pragma unroll
      for (int i = 0; i < kCount; ++i) to[p][i] = to_float(pack.values[i]);
    } else {
#pragma unroll
      for (int i = 0; i < kCount; ++i) to[p][i] = 0;
    }
  }
}

/// kCount floats at an address that packs are aligned to.
template <int kCount>
__device__ __forceinline__ void load_floats(const float* from, float (&to)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; i += 4) {
    const float4 quad = *reinterpret_cast<const float4*>(from + i);
    to[i] = quad.x, to[i + 1] = quad.y, to[i + 2] = quad.z, to[i + 3] = quad.w;
  }
}

template <class T, int kPacks>
__global__ void __launch_bounds__(kThreads)
    rows_forward(const T* x, const float* weight, const float* bias, T* y, Moments* moments,
                 std::int64_t rows, std::int64_t width, float epsilon) {
  constexpr int kCount = Pack<T>::kCount;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= rows) return;
  float v[kPacks][kCount];
  load_row<T, kPacks>(x + row * width, width, v);
  float sum = 0;
#pragma unroll
  for (int p = 0; p < kPacks; ++p)
#pragma unroll
    for (int i = 0; i < kCount; ++i) sum += v[p][i];
  const float mean = warp_sum(sum) / static_cast<float>(width);
  float squares = 0;
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    if ((threadIdx.x % 32 + p * 32) * kCount >= width) continue;
#pragma unroll
    for (int i = 0; i < kCount; ++i) squares += (v[p][i] - mean) * (v[p][i] - mean);
  }
  const float inverse = 1.0F / sqrtf(warp_sum(squares) / static_cast<float>(width) + epsilon);
  if (threadIdx.x % 32 == 0) moments[row] = {mean, inverse};
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    const std::int64_t at = (threadIdx.x % 32 + p * 32) * kCount;
    if (at >= width) continue;
    float w[kCount], b[kCount];
    load_floats(weight + at, w);
    load_floats(bias + at, b);
    Pack<T> pack;
#pragma unroll
    for (int i = 0; i < kCount; ++i) pack.values[i] = from_float<T>((v[p][i] - mean) * inverse * w[i] + b[i]);
    pack.store(y + row * width + at);
  }
}

/// With g = dy w: dx = (g - mean(g) - xhat mean(g xhat)) / deviation. A block's sums of dy xhat and dy lie
/// one after another in `partial`. Rows stay packed in registers, so that two blocks fit a multiprocessor.
template <class T, int kPacks>
__global__ void __launch_bounds__(kThreads, kPacks <= 3 ? 2 : 1)
    rows_backward(const T* x, const T* dy, const float* weight, const Moments* moments, T* dx, bool add,
                  float* partial, std::int64_t rows, std::int64_t width) {
  constexpr int kCount = Pack<T>::kCount;
  extern __shared__ float room[];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float weight_sum[kPacks][kCount] = {}, bias_sum[kPacks][kCount] = {};
  for (std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kWarps + warp; row < rows;
       row += static_cast<std::int64_t>(gridDim.x) * kWarps) {
    Pack<T> xs[kPacks], dys[kPacks];
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const std::int64_t at = (lane + p * 32) * kCount;
      if (at >= width) continue;
      xs[p] = Pack<T>::load(x + row * width + at);
      dys[p] = Pack<T>::load(dy + row * width + at);
    }
    const Moments m = moments[row];
    float gradient = 0, product = 0;
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const std::int64_t at = (lane + p * 32) * kCount;
      if (at >= width) continue;
      float w[kCount];
      load_floats(weight + at, w);
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        const float hat = (to_float(xs[p].values[i]) - m.mean) * m.inverse, d = to_float(dys[p].values[i]);
        weight_sum[p][i] += d * hat;
        bias_sum[p][i] += d;
        gradient += d * w[i];
        product += d * w[i] * hat;
      }
    }
    if (dx == nullptr) continue;
    gradient = warp_sum(gradient) / static_cast<float>(width);
    product = warp_sum(product) / static_cast<float>(width);
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const std::int64_t at = (lane + p * 32) * kCount;
      if (at >= width) continue;
      T* to = dx + row * width + at;
      Pack<T> pack;
      if (add) pack = Pack<T>::load(to);
      float w[kCount];
      load_floats(weight + at, w);
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        const float hat = (to_float(xs[p].values[i]) - m.mean) * m.inverse;
        const float d = m.inverse * (to_float(dys[p].values[i]) * w[i] - gradient - hat * product);
        pack.values[i] = from_float<T>(add ? to_float(pack.values[i]) + d : d);
      }
      pack.store(to);
    }
  }
  // Warp by warp into shared memory, so that one row of it is enough.
  for (int turn = 0; turn < kWarps; ++turn) {
    if (turn == warp) {
#pragma unroll
      for (int p = 0; p < kPacks; ++p) {
        const std::int64_t at = (lane + p * 32) * kCount;
        if (at >= width) continue;
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
          room[at + i] = (turn == 0 ? 0.0F : room[at + i]) + weight_sum[p][i];
          room[width + at + i] = (turn == 0 ? 0.0F : room[width + at + i]) + bias_sum[p][i];
        }
      }
    }
    __syncthreads();
  }
  for (std::int64_t i = threadIdx.x; i < 2 * width; i += kThreads)
    partial[blockIdx.x * 2 * width + i] = room[i];
}

// Any rows: a block each.

template <class T>
__global__ void __launch_bounds__(kThreads)
    wide_forward(const T* x, const float* weight, const float* bias, T* y, Moments* moments,
                 std::int64_t width, float epsilon) {
  __shared__ float room[32];
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * width;
  float sum = 0, squares = 0;
  for (std::int64_t i = threadIdx.x; i < width; i += kThreads) sum += to_float(x[first + i]);
  const float mean = block_sum(sum, room) / static_cast<float>(width);
  for (std::int64_t i = threadIdx.x; i < width; i += kThreads) {
    const float d = to_float(x[first + i]) - mean;
    squares += d * d;
  }
  const float inverse = 1.0F / sqrtf(block_sum(squares, room) / static_cast<float>(width) + epsilon);
  if (threadIdx.x == 0) moments[blockIdx.x] = {mean, inverse};
  for (std::int64_t i = threadIdx.x; i < width; i += kThreads)
    y[first + i] = from_float<T>((to_float(x[first + i]) - mean) * inverse * weight[i] + bias[i]);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    wide_backward(const T* x, const T* dy, const float* weight, const Moments* moments, T* dx, bool add,
                  std::int64_t width) {
  __shared__ float room[32];
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * width;
  const Moments m = moments[blockIdx.x];
  float gradient = 0, product = 0;
  for (std::int64_t i = threadIdx.x; i < width; i += kThreads) {
    const float g = to_float(dy[first + i]) * weight[i];
    gradient += g;
    product += g * (to_float(x[first + i]) - m.mean) * m.inverse;
  }
  gradient = block_sum(gradient, room) / static_cast<float>(width);
  product = block_sum(product, room) / static_cast<float>(width);
  for (std::int64_t i = threadIdx.x; i < width; i += kThreads) {
    const float hat = (to_float(x[first + i]) - m.mean) * m.inverse;
    const float d = m.inverse * (to_float(dy[first + i]) * weight[i] - gradient - hat * product);
    dx[first + i] = from_float<T>(add ? to_float(dx[first + i]) + d : d);
  }
}

/// Block b sums the rows b, b + gridDim.x, ... of its columns.
template <class T>
__global__ void __launch_bounds__(kThreads)
    wide_parameters(const T* x, const T* dy, const Moments* moments, float* partial, std::int64_t rows,
                    std::int64_t width) {
  for (std::int64_t column = threadIdx.x; column < width; column += kThreads) {
    float weight_sum = 0, bias_sum = 0;
    for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
      const Moments m = moments[row];
      const float d = to_float(dy[row * width + column]);
      weight_sum += d * (to_float(x[row * width + column]) - m.mean) * m.inverse;
      bias_sum += d;
    }
    partial[blockIdx.x * 2 * width + column] = weight_sum;
    partial[blockIdx.x * 2 * width + width + column] = bias_sum;
  }
}

__global__ void __launch_bounds__(1024) parameter_totals(const float* partial, int blocks, std::int64_t width,
                                                         float* weight, float* bias, bool add) {
  __shared__ float room[32][33];
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * 32 + threadIdx.x;
  float sum = 0;
  if (at < 2 * width)
    for (int block = threadIdx.y; block < blocks; block += 32) sum += partial[block * 2 * width + at];
  room[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || at >= 2 * width) return;
  float total = 0;
  for (int lane = 0; lane < 32; ++lane) total += room[lane][threadIdx.x];
  float* to = at < width ? weight + at : bias + (at - width);
  *to = add ? *to + total : total;
}

template <class T>
class LayerNormKernel final : public CudaKernel {
 public:
  explicit LayerNormKernel(const Site& site)
      : CudaKernel(site),
        epsilon_(std::get<LayerNorm>(site.request.node->spec).epsilon),
        rows_(rows_of(site.input())) {}

  [[nodiscard]] std::vector<StorageOrderPtr> parameter_storage() const override { return {nullptr, nullptr}; }
  [[nodiscard]] bool backward_needs_output() const override { return false; }
  [[nodiscard]] std::size_t saved_bytes() const override {
    return static_cast<std::size_t>(rows_.count) * sizeof(Moments);
  }
  [[nodiscard]] std::size_t workspace_bytes() const override {
    return static_cast<std::size_t>(blocks() * 2 * rows_.width) * sizeof(float);
  }

  void forward(const Pass& pass, Stream& stream) override {
    const cudaStream_t on = native(stream);
    const float *w = slot<float>(pass.values, 0), *b = slot<float>(pass.values, 1);
    const bool held = with_packs([&](auto packs) {
      const auto grid = static_cast<unsigned>((rows_.count + kWarps - 1) / kWarps);
      rows_forward<T, decltype(packs)::value><<<grid, kThreads, 0, on>>>(
          in<T>(), w, b, out<T>(), saved<Moments>(), rows_.count, rows_.width, epsilon_);
    });
    if (!held)
      wide_forward<T><<<static_cast<unsigned>(rows_.count), kThreads, 0, on>>>(
          in<T>(), w, b, out<T>(), saved<Moments>(), rows_.width, epsilon_);
    check_launch("layer_norm");
  }

  void backward(const Pass& pass, Stream& stream) override {
    const cudaStream_t on = native(stream);
    const float* w = slot<float>(pass.values, 0);
    auto* partial = workspace<float>();
    const bool held = with_packs([&](auto packs) {
      const auto room = static_cast<std::size_t>(2 * rows_.width) * sizeof(float);
      rows_backward<T, decltype(packs)::value><<<static_cast<unsigned>(blocks()), kThreads, room, on>>>(
          in<T>(), out_gradient<T>(), w, saved<Moments>(), in_gradient<T>(), adds(), partial, rows_.count,
          rows_.width);
    });
    if (!held) {
      wide_parameters<T><<<static_cast<unsigned>(blocks()), kThreads, 0, on>>>(
          in<T>(), out_gradient<T>(), saved<Moments>(), partial, rows_.count, rows_.width);
      if (in_gradient<T>() != nullptr)
        wide_backward<T><<<static_cast<unsigned>(rows_.count), kThreads, 0, on>>>(
            in<T>(), out_gradient<T>(), w, saved<Moments>(), in_gradient<T>(), adds(), rows_.width);
    }
    check_launch("layer_norm backward");
    parameter_totals<<<static_cast<unsigned>((2 * rows_.width + 31) / 32), dim3(32, 32), 0, on>>>(
        partial, static_cast<int>(blocks()), rows_.width, slot<float>(pass.gradients, 0),
        slot<float>(pass.gradients, 1), pass.accumulate);
    check_launch("layer_norm backward");
  }

 private:
  /// Of the sums over rows: two a multiprocessor of an H100, whatever the device, so that bits do not depend
  /// on it.
  [[nodiscard]] std::int64_t blocks() const {
    return std::clamp<std::int64_t>((rows_.count + kWarps - 1) / kWarps, 1, 264);
  }
  /// Calls run(packs a lane, as a constant) where a warp can hold a row; false where it cannot.
  template <class Run>
  bool with_packs(Run&& run) const {
    constexpr std::int64_t kCount = Pack<T>::kCount;
    if (rows_.width % kCount != 0) return false;
    const std::int64_t packs = (rows_.width / kCount + 31) / 32;
    if (packs <= 1) return run(std::integral_constant<int, 1>{}), true;
    if (packs <= 2) return run(std::integral_constant<int, 2>{}), true;
    if (packs <= 3) return run(std::integral_constant<int, 3>{}), true;
    if (packs <= 4) return run(std::integral_constant<int, 4>{}), true;
    if (packs <= 6) return run(std::integral_constant<int, 6>{}), true;
    if (packs <= 8 && kCount == 4) return run(std::integral_constant<int, 8>{}), true;
    return false;
  }

  float epsilon_;
  Rows rows_;
};

}  // namespace

std::unique_ptr<Kernel> make_layer_norm(const Site& site) { return make_typed<LayerNormKernel>(site); }

}  // namespace lockstep::models::cuda
