#include "core/cuda/element.cuh"
#include "models/ops/cuda/gradient.cuh"
#include "models/ops/cuda/lot.cuh"
#include "models/ops/cuda/rowwise.h"

namespace lockstep::models::cuda {
namespace {

using namespace lockstep::cuda;

template <class T, int kCount>
__global__ void bias_activation_kernel(T* x, T* kept, const float* bias, std::int64_t lots,
                                       std::int64_t width, Epilogue epilogue) {
  for (std::int64_t lot = first_item(); lot < lots; lot += stride()) {
    auto v = Lot<T, kCount>::load(x + lot * kCount);
    Lot<T, kCount> k;
    const std::int64_t column = lot * kCount % width;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const float sum = to_float(v.values[i]) + (bias == nullptr ? 0.0F : bias[column + i]);
      k.values[i] = from_float<T>(sum);
      v.values[i] = from_float<T>(activated(sum, epilogue));
    }
    if (kept != nullptr) k.store(kept + lot * kCount);
    v.store(x + lot * kCount);
  }
}

template <class T, int kCount>
__global__ void activation_gradient_kernel(const T* seen, T* gradient, std::int64_t lots, Epilogue epilogue) {
  for (std::int64_t lot = first_item(); lot < lots; lot += stride()) {
    const auto s = Lot<T, kCount>::load(seen + lot * kCount);
    auto g = Lot<T, kCount>::load(gradient + lot * kCount);
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      g.values[i] = from_float<T>(to_float(g.values[i]) * slope_at(to_float(s.values[i]), epilogue));
    g.store(gradient + lot * kCount);
  }
}

template <class T, int kCount>
__global__ void pass_on_kernel(const T* from, T* to, std::int64_t lots) {
  for (std::int64_t lot = first_item(); lot < lots; lot += stride()) {
    const auto f = Lot<T, kCount>::load(from + lot * kCount);
    auto t = Lot<T, kCount>::load(to + lot * kCount);
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      t.values[i] = from_float<T>(to_float(t.values[i]) + to_float(f.values[i]));
    t.store(to + lot * kCount);
  }
}

// Sums of columns: a block of 32 x 8 threads sums a tile of columns over a chunk of rows, a second kernel
// sums the chunks.
constexpr int kLanes = 8;  // rows at a time in a block
constexpr std::int64_t kMostChunks = 256;

std::int64_t chunk_count(const Rows& rows) {
  return std::clamp<std::int64_t>((rows.count + 63) / 64, 1, kMostChunks);
}

template <class T, int kCount>
__global__ void __launch_bounds__(32 * kLanes)
    column_chunks_kernel(const T* x, std::int64_t rows, std::int64_t width, std::int64_t rows_a_chunk,
                         float* partial) {
  __shared__ float room[kLanes][32 * kCount];
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.x) * 32 + threadIdx.x) * kCount;
  const std::int64_t first = blockIdx.y * rows_a_chunk, end = min(first + rows_a_chunk, rows);
  float sum[kCount] = {};
  if (column < width) {
#pragma unroll 4
    for (std::int64_t row = first + threadIdx.y; row < end; row += kLanes) {
      const auto v = Lot<T, kCount>::load(x + row * width + column);
#pragma unroll
      for (int i = 0; i < kCount; ++i) sum[i] += to_float(v.values[i]);
    }
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i) room[threadIdx.y][threadIdx.x * kCount + i] = sum[i];
  __syncthreads();
  for (int c = threadIdx.y * 32 + threadIdx.x; c < 32 * kCount; c += 32 * kLanes) {
    const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * 32 * kCount + c;
    if (at >= width) continue;
    float total = 0;
#pragma unroll
    for (int lane = 0; lane < kLanes; ++lane) total += room[lane][c];
    partial[blockIdx.y * width + at] = total;
  }
}

__global__ void __launch_bounds__(1024)
    column_totals_kernel(const float* partial, std::int64_t chunks, std::int64_t width, GradientSlot sums) {
  __shared__ float room[32][33];
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * 32 + threadIdx.x;
  float sum = 0;
  if (column < width)
    for (std::int64_t chunk = threadIdx.y; chunk < chunks; chunk += 32)
      sum += partial[chunk * width + column];
  room[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= width) return;
  float total = 0;
  for (int lane = 0; lane < 32; ++lane) total += room[lane][threadIdx.x];
  put(sums, column, total);
}

template <class T>
__global__ void noise_kernel(T* x, std::int64_t count) {
  for (std::int64_t i = first_item(); i < count; i += stride()) {
    auto bits = static_cast<std::uint32_t>(i) * 2654435761U;  // Knuth's multiplicative hash
    bits ^= bits >> 15;
    x[i] = from_float<T>(static_cast<float>(bits * 2246822519U) * 0x1p-31F - 1.0F);
  }
}

}  // namespace

void bias_activation(void* x, void* kept, const float* bias, const Rows& rows, Dtype dtype,
                     const Epilogue& epilogue, const On& on) {
  const std::int64_t count = rows.count * rows.width;
  if (count == 0) return;
  with_device_float(dtype, [&]<class T>(T*) {
    with_lots<T>(rows.width, aligned(x) && aligned(kept), [&](auto lot) {
      constexpr int kCount = decltype(lot)::value;
      bias_activation_kernel<T, kCount>
          <<<blocks_for(count / kCount, on.device), kBlockThreads, 0, on.stream>>>(
              static_cast<T*>(x), static_cast<T*>(kept), bias, count / kCount, rows.width, epilogue);
    });
  });
  check_launch("bias_activation");
}

void activation_gradient(const void* seen, void* gradient, std::int64_t count, Dtype dtype,
                         const Epilogue& epilogue, const On& on) {
  if (count == 0) return;
  with_device_float(dtype, [&]<class T>(T*) {
    with_lots<T>(count, aligned(seen) && aligned(gradient), [&](auto lot) {
      constexpr int kCount = decltype(lot)::value;
      activation_gradient_kernel<T, kCount>
          <<<blocks_for(count / kCount, on.device), kBlockThreads, 0, on.stream>>>(
              static_cast<const T*>(seen), static_cast<T*>(gradient), count / kCount, epilogue);
    });
  });
  check_launch("activation_gradient");
}

std::size_t column_sums_bytes(const Rows& rows) {
  return static_cast<std::size_t>(chunk_count(rows) * rows.width) * sizeof(float);
}

void column_sums(const void* x, const Rows& rows, Dtype dtype, const GradientSlot& sums, void* scratch,
                 const On& on) {
  auto* partial = static_cast<float*>(scratch);
  const std::int64_t chunks = chunk_count(rows);
  const std::int64_t rows_a_chunk = (rows.count + chunks - 1) / chunks;
  with_device_float(dtype, [&]<class T>(T*) {
    with_lots<T>(rows.width, aligned(x), [&](auto lot) {
      constexpr int kCount = decltype(lot)::value;
      const std::int64_t tiles = (rows.width + 32 * kCount - 1) / (32 * kCount);
      const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(chunks));
      column_chunks_kernel<T, kCount><<<grid, dim3(32, kLanes), 0, on.stream>>>(
          static_cast<const T*>(x), rows.count, rows.width, rows_a_chunk, partial);
    });
  });
  check_launch("column_sums");
  column_totals_kernel<<<static_cast<unsigned>((rows.width + 31) / 32), dim3(32, 32), 0, on.stream>>>(
      partial, chunks, rows.width, sums);
  check_launch("column_sums");
}

void pass_on(const void* from, void* to, std::int64_t count, Dtype dtype, bool add, const On& on) {
  if ((from == to && !add) || count == 0) return;
  if (!add) {
    lockstep::cuda::copy_on_device(to, from, static_cast<std::size_t>(count) * size_of(dtype), on.stream);
    return;
  }
  with_device_float(dtype, [&]<class T>(T*) {
    with_lots<T>(count, aligned(from) && aligned(to), [&](auto lot) {
      constexpr int kCount = decltype(lot)::value;
      pass_on_kernel<T, kCount><<<blocks_for(count / kCount, on.device), kBlockThreads, 0, on.stream>>>(
          static_cast<const T*>(from), static_cast<T*>(to), count / kCount);
    });
  });
  check_launch("pass_on");
}

void fill_noise(void* x, Dtype dtype, std::int64_t count, Device device, cudaStream_t stream) {
  if (count == 0) return;
  with_device_float(dtype, [&]<class T>(T*) {
    noise_kernel<<<blocks_for(count, device), kBlockThreads, 0, stream>>>(static_cast<T*>(x), count);
  });
  check_launch("fill_noise");
}

}  // namespace lockstep::models::cuda
