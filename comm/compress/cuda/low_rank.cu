// Products of tall matrices with a few columns on the GPU. Sums run in an order fixed by the shapes, another
// one than the host's. Up to kColumns columns of a factor at a time, so that the matrix is read once for
// them.
#include "comm/compress/cuda/cuda_kernels.h"
#include "comm/compress/cuda/device.cuh"

namespace lockstep::comm {
namespace {

using namespace gpu;

constexpr int kColumns = 8;
constexpr int kSide = 32;  // threads of a square block

/// A warp a row: p[j][row] = sum over c of m[row][c] * q[j][c], for columns [first, first + kColumns).
__global__ void times_right_kernel(const float* m, const float* q, float* p, std::int64_t rows,
                                   std::int64_t columns, int first, int rank) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (std::int64_t row = first_item() / 32; row < rows; row += stride() / 32) {
    float sums[kColumns] = {};
    for (std::int64_t c = lane; c < columns; c += 32) {
      const float x = m[row * columns + c];
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        if (first + j < rank) sums[j] += x * q[(first + j) * columns + c];
      }
    }
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      const float sum = lockstep::cuda::warp_sum(sums[j]);
      if (lane == 0 && first + j < rank) p[(first + j) * rows + row] = sum;
    }
  }
}

/// A square block takes kSide columns; its rows of threads share the rows: q[j][c] = sum over r of m[r][c] *
/// p[j][r].
__global__ void __launch_bounds__(kSide* kSide)
    times_left_kernel(const float* m, const float* p, float* q, std::int64_t rows, std::int64_t columns,
                      int first, int rank) {
  __shared__ float room[kSide][kSide + 1];
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kSide + threadIdx.x;
  float sums[kColumns] = {};
  for (std::int64_t row = threadIdx.y; row < rows && c < columns; row += kSide) {
    const float x = m[row * columns + c];
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      if (first + j < rank) sums[j] += x * p[(first + j) * rows + row];
    }
  }
#pragma unroll
  for (int j = 0; j < kColumns; ++j) {
    room[threadIdx.y][threadIdx.x] = sums[j];
    __syncthreads();
    // Turned: this warp adds column threadIdx.y.
    const float sum = lockstep::cuda::warp_sum(room[threadIdx.x][threadIdx.y]);
    const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * kSide + threadIdx.y;
    if (threadIdx.x == 0 && column < columns && first + j < rank) q[(first + j) * columns + column] = sum;
    __syncthreads();
  }
}

constexpr int kOrthoThreads = 1024;
/// Below this part of its length a projected column is only rounding.
constexpr double kVanished = 1e-6;

__device__ double block_dot(const float* x, const float* y, std::int64_t count, double* room) {
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += blockDim.x)
    sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  return block_sum(sum, room);
}

/// One block: Gram and Schmidt, each column projected twice, because once leaves rounding behind.
__global__ void __launch_bounds__(kOrthoThreads)
    orthonormalise_kernel(float* p, std::int64_t rows, int rank) {
  __shared__ double room[32];
  for (int j = 0; j < rank; ++j) {
    float* mine = p + j * rows;
    const double before = sqrt(block_dot(mine, mine, rows, room));
    for (int other = 0; other < 2 * j; ++other) {
      const float* along = p + (other % j) * rows;
      const auto factor = static_cast<float>(block_dot(along, mine, rows, room));
      for (std::int64_t i = threadIdx.x; i < rows; i += blockDim.x) mine[i] -= factor * along[i];
    }
    const double after = sqrt(block_dot(mine, mine, rows, room));
    const float factor = after > kVanished * before ? static_cast<float>(1.0 / after) : 0.0f;
    for (std::int64_t i = threadIdx.x; i < rows; i += blockDim.x) mine[i] *= factor;
    __syncthreads();
  }
}

/// The host's bits for equal factors.
__global__ void add_product_kernel(const float* p, const float* q, int rank, float factor, bool keep,
                                   float* m, std::int64_t rows, std::int64_t columns) {
  for (std::int64_t i = first_item(); i < rows * columns; i += stride()) {
    const std::int64_t row = i / columns, c = i % columns;
    float sum = keep ? m[i] : 0.0f;
    for (int j = 0; j < rank; ++j) sum += factor * p[j * rows + row] * q[j * columns + c];
    m[i] = sum;
  }
}

/// One block a column.
__global__ void revive_kernel(float* q, const float* spare, std::int64_t rows) {
  float* column = q + blockIdx.x * rows;
  int alive = 0;
  for (std::int64_t i = threadIdx.x; i < rows; i += blockDim.x) alive |= static_cast<int>(column[i] != 0);
  if (__syncthreads_or(alive) != 0) return;
  for (std::int64_t i = threadIdx.x; i < rows; i += blockDim.x) column[i] = spare[blockIdx.x * rows + i];
}

}  // namespace

void cuda_times_right(FlatSpan values, Matrix matrix, FlatSpan q, FlatSpan p, int rank, Stream& stream) {
  const int blocks = blocks_for(matrix.rows * 32, stream.device());
  for (int first = 0; first < rank; first += kColumns) {
    times_right_kernel<<<blocks, kBlockThreads, 0, native(stream)>>>(floats_of(values) + matrix.first,
                                                                     floats_of(q), floats_of(p), matrix.rows,
                                                                     matrix.columns, first, rank);
  }
  check_launch("times_right");
}

void cuda_times_left(FlatSpan values, Matrix matrix, FlatSpan p, FlatSpan q, int rank, Stream& stream) {
  const auto blocks = static_cast<unsigned>((matrix.columns + kSide - 1) / kSide);
  for (int first = 0; first < rank; first += kColumns) {
    times_left_kernel<<<blocks, dim3(kSide, kSide), 0, native(stream)>>>(
        floats_of(values) + matrix.first, floats_of(p), floats_of(q), matrix.rows, matrix.columns, first,
        rank);
  }
  check_launch("times_left");
}

void cuda_orthonormalise(FlatSpan p, std::int64_t rows, int rank, Stream& stream) {
  orthonormalise_kernel<<<1, kOrthoThreads, 0, native(stream)>>>(floats_of(p), rows, rank);
  check_launch("orthonormalise");
}

void cuda_add_product(FlatSpan p, FlatSpan q, int rank, float factor, bool keep, FlatSpan values,
                      Matrix matrix, Stream& stream) {
  const int blocks = blocks_for(matrix.rows * matrix.columns, stream.device());
  add_product_kernel<<<blocks, kBlockThreads, 0, native(stream)>>>(floats_of(p), floats_of(q), rank, factor,
                                                                   keep, floats_of(values) + matrix.first,
                                                                   matrix.rows, matrix.columns);
  check_launch("add_product");
}

void cuda_revive(FlatSpan q, FlatSpan spare, std::int64_t rows, int rank, Stream& stream) {
  revive_kernel<<<static_cast<unsigned>(rank), kBlockThreads, 0, native(stream)>>>(floats_of(q),
                                                                                   floats_of(spare), rows);
  check_launch("revive");
}

}  // namespace lockstep::comm
