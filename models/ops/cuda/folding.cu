#include "models/ops/cuda/folding.h"

#include "core/cuda/element.cuh"
#include "models/ops/cuda/gradient.cuh"
#include "models/ops/cuda/lot.cuh"

namespace lockstep::models::cuda {
namespace {

using namespace lockstep::cuda;

constexpr int kWide = 4;  // channels that a thread writes together

template <class T>
struct alignas(sizeof(T) * kWide) Piece {
  T values[kWide];
};

/// Which pixel of the fold and which channel a folded channel is; none: row < 0.
struct Part {
  int row, column, channel;
};
__device__ __forceinline__ Part part_of(const Folding& f, int folded_channel) {
  const int pixel = folded_channel / f.channels, across = f.axes[1].stride;
  if (pixel >= f.axes[0].stride * across) return {-1, 0, 0};
  return {pixel / across, pixel % across, folded_channel % f.channels};
}

template <class T>
__global__ void fold_image_kernel(Folding f, const T* image, Piece<T>* folded, std::uint32_t pieces) {
  const FoldedAxis &down = f.axes[0], &across = f.axes[1];
  const std::uint32_t a_pixel = f.folded_channels / kWide, step = gridDim.x * blockDim.x;
  for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < pieces; i += step) {
    const std::uint32_t pixel = i / a_pixel, line = pixel / across.folded_size;
    const int top = static_cast<int>(line % down.folded_size) * down.stride - down.border;
    const int left = static_cast<int>(pixel % across.folded_size) * across.stride - across.border;
    const T* from =
        image + static_cast<std::int64_t>(line / down.folded_size) * down.size * across.size * f.channels;
    Piece<T> piece;
#pragma unroll
    for (int k = 0; k < kWide; ++k) {
      const Part part = part_of(f, static_cast<int>(i % a_pixel) * kWide + k);
      const int row = top + part.row, column = left + part.column;
      const bool inside = part.row >= 0 && row >= 0 && row < down.size && column >= 0 && column < across.size;
      piece.values[k] =
          inside ? from[(row * across.size + column) * f.channels + part.channel] : from_float<T>(0.0F);
    }
    folded[i] = piece;
  }
}

template <class T>
__global__ void fold_weight_kernel(Folding f, const T* weight, T* folded, int count) {
  const FoldedAxis &down = f.axes[0], &across = f.axes[1];
  for (int i = static_cast<int>(first_item()); i < count; i += static_cast<int>(stride())) {
    const int tap = i / f.folded_channels, k = tap / across.folded_kernel / down.folded_kernel;
    const Part part = part_of(f, i % f.folded_channels);
    const int r = tap / across.folded_kernel % down.folded_kernel * down.stride + part.row - down.shift;
    const int s = tap % across.folded_kernel * across.stride + part.column - across.shift;
    const bool inside = part.row >= 0 && r >= 0 && r < down.kernel && s >= 0 && s < across.kernel;
    folded[i] = inside ? weight[((k * down.kernel + r) * across.kernel + s) * f.channels + part.channel]
                       : from_float<T>(0.0F);
  }
}

template <class T>
__global__ void unfold_gradient_kernel(Folding f, const T* folded, GradientSlot gradient, int count) {
  const FoldedAxis &down = f.axes[0], &across = f.axes[1];
  for (int i = static_cast<int>(first_item()); i < count; i += static_cast<int>(stride())) {
    const int tap = i / f.channels, k = tap / across.kernel / down.kernel;
    const int r = tap / across.kernel % down.kernel + down.shift, s = tap % across.kernel + across.shift;
    const int row = (k * down.folded_kernel + r / down.stride) * across.folded_kernel + s / across.stride;
    const int pixel = r % down.stride * across.stride + s % across.stride;
    put(gradient, i, to_float(folded[row * f.folded_channels + pixel * f.channels + i % f.channels]));
  }
}

FoldedAxis folded_axis(const ConvolutionGeometry& g, std::size_t axis) {
  const auto narrow = [](std::int64_t i) { return static_cast<int>(i); };
  const std::int64_t stride = g.stride[axis];
  const std::int64_t border = (g.padding[axis] + stride - 1) / stride * stride;
  const std::int64_t kernel = (g.kernel[axis] + border - g.padding[axis] + stride - 1) / stride;
  return {narrow(g.image[2 + axis]),
          narrow(stride),
          narrow(g.kernel[axis]),
          narrow(border),
          narrow(border - g.padding[axis]),
          narrow(g.result[2 + axis] + kernel - 1),
          narrow(kernel)};
}

}  // namespace

Folding folding_of(const ConvolutionGeometry& g) {
  constexpr std::int64_t kMultiple = 8;
  const std::int64_t used = g.image[1] * g.stride[0] * g.stride[1];
  return {{folded_axis(g, 0), folded_axis(g, 1)},
          static_cast<int>(g.image[0]),
          static_cast<int>(g.image[1]),
          static_cast<int>((used + kMultiple - 1) / kMultiple * kMultiple),
          static_cast<int>(g.result[1])};
}

ConvolutionGeometry folded(const ConvolutionGeometry& g) {
  const Folding f = folding_of(g);
  return {{f.images, f.folded_channels, f.axes[0].folded_size, f.axes[1].folded_size},
          g.result,
          {f.axes[0].folded_kernel, f.axes[1].folded_kernel},
          {1, 1},
          {0, 0},
          {1, 1},
          1};
}

void fold_image(const Folding& f, const void* image, void* folded, Dtype dtype, const On& on) {
  const auto pieces = static_cast<std::uint32_t>(f.images) * f.axes[0].folded_size * f.axes[1].folded_size *
                      (f.folded_channels / kWide);
  with_device_float(dtype, [&]<class T>(T*) {
    if constexpr (sizeof(T) <= sizeof(float))
      fold_image_kernel<<<blocks_for(pieces, on.device), kBlockThreads, 0, on.stream>>>(
          f, static_cast<const T*>(image), static_cast<Piece<T>*>(folded), pieces);
  });
  check_launch("fold_image");
}

void fold_weight(const Folding& f, const void* weight, void* folded, Dtype dtype, const On& on) {
  const int count = f.results * f.axes[0].folded_kernel * f.axes[1].folded_kernel * f.folded_channels;
  with_device_float(dtype, [&]<class T>(T*) {
    fold_weight_kernel<<<blocks_for(count, on.device), kBlockThreads, 0, on.stream>>>(
        f, static_cast<const T*>(weight), static_cast<T*>(folded), count);
  });
  check_launch("fold_weight");
}

void unfold_gradient(const Folding& f, const void* folded, Dtype dtype, const GradientSlot& gradient,
                     const On& on) {
  const int count = f.results * f.axes[0].kernel * f.axes[1].kernel * f.channels;
  with_device_float(dtype, [&]<class T>(T*) {
    unfold_gradient_kernel<<<blocks_for(count, on.device), kBlockThreads, 0, on.stream>>>(
        f, static_cast<const T*>(folded), gradient, count);
  });
  check_launch("unfold_gradient");
}

}  // namespace lockstep::models::cuda
