// Flat-array primitives on the GPU: grid-stride loops over 16-byte packs where dtypes agree, plain loops
// where they convert. Reductions are in reduce.cu.
#include "core/vector/cuda/cuda_kernels.h"

#include "core/cuda/element.cuh"

namespace lockstep::vector {

namespace {

using namespace lockstep::cuda;

template <class T>
__global__ void fill_kernel(T* x, T value, std::int64_t count) {
  for (std::int64_t i = first_item(); i < count; i += stride()) x[i] = value;
}

template <class From, class To>
__global__ void cast_kernel(const From* from, To* to, std::int64_t count) {
  for (std::int64_t i = first_item(); i < count; i += stride()) to[i] = from_float<To>(to_float(from[i]));
}

/// f32 to a 16-bit float, four elements a thread: the hot cast of a step.
template <class To>
__global__ void narrow_kernel(const float4* from, uint2* to, std::int64_t quads) {
  for (std::int64_t i = first_item(); i < quads; i += stride()) {
    const float4 x = from[i];
    union {
      To values[4];
      uint2 bits;
    } out;
    out.values[0] = from_float<To>(x.x);
    out.values[1] = from_float<To>(x.y);
    out.values[2] = from_float<To>(x.z);
    out.values[3] = from_float<To>(x.w);
    to[i] = out.bits;
  }
}

template <class T>
struct Add {
  __device__ T operator()(T a, T b) const { return a + b; }
};
template <>
struct Add<__nv_bfloat16> {
  __device__ __nv_bfloat16 operator()(__nv_bfloat16 a, __nv_bfloat16 b) const {
    return __float2bfloat16_rn(__bfloat162float(a) + __bfloat162float(b));
  }
};
template <>
struct Add<__half> {
  __device__ __half operator()(__half a, __half b) const {
    return __float2half_rn(__half2float(a) + __half2float(b));
  }
};

template <class T>
__global__ void sum_kernel(const T* left, const T* right, T* out, std::int64_t count) {
  for (std::int64_t i = first_item(); i < count; i += stride()) out[i] = Add<T>()(left[i], right[i]);
}

template <class T>
__global__ void sum_packs_kernel(const T* left, const T* right, T* out, std::int64_t packs) {
  constexpr int kCount = Pack<T>::kCount;
  for (std::int64_t i = first_item(); i < packs; i += stride()) {
    const auto a = Pack<T>::load(left + i * kCount), b = Pack<T>::load(right + i * kCount);
    Pack<T> c;
#pragma unroll
    for (int k = 0; k < kCount; ++k) c.values[k] = Add<T>()(a.values[k], b.values[k]);
    c.store(out + i * kCount);
  }
}

__global__ void axpy_kernel(float factor, const float* x, float* y, std::int64_t count) {
  for (std::int64_t i = first_item(); i < count; i += stride())
    y[i] = __fadd_rn(y[i], __fmul_rn(factor, x[i]));
}

__global__ void scale_kernel(float factor, float* x, std::int64_t count) {
  for (std::int64_t i = first_item(); i < count; i += stride()) x[i] = factor * x[i];
}

bool aligned(const void* address) { return reinterpret_cast<std::uintptr_t>(address) % 16 == 0; }

template <class T>
void launch_fill(FlatSpan x, T value, cudaStream_t on) {
  fill_kernel<<<blocks_for(x.count, x.device), kBlockThreads, 0, on>>>(static_cast<T*>(x.data), value,
                                                                       x.count);
}

void fill(FlatSpan x, float value, Stream& stream) {
  if (x.count == 0) return;
  const cudaStream_t on = native(stream);
  if (x.dtype == Dtype::f64) launch_fill<double>(x, value, on);
  if (x.dtype == Dtype::f32) launch_fill<float>(x, value, on);
  if (x.dtype == Dtype::bf16) launch_fill<std::uint16_t>(x, Bf16(value).bits, on);
  if (x.dtype == Dtype::f16) launch_fill<std::uint16_t>(x, F16(value).bits, on);
  if (x.dtype == Dtype::i64) launch_fill<long long>(x, static_cast<long long>(value), on);
  if (x.dtype == Dtype::i32) launch_fill<int>(x, static_cast<int>(value), on);
  if (x.dtype == Dtype::u16) launch_fill<std::uint16_t>(x, static_cast<std::uint16_t>(value), on);
  if (x.dtype == Dtype::u8) launch_fill<std::uint8_t>(x, static_cast<std::uint8_t>(value), on);
  check_launch("fill");
}

template <class To>
bool narrow(FlatSpan from, FlatSpan to, cudaStream_t on) {
  if (from.count % 4 != 0 || !aligned(from.data) || reinterpret_cast<std::uintptr_t>(to.data) % 8 != 0)
    return false;
  narrow_kernel<To><<<blocks_for(from.count / 4, from.device), kBlockThreads, 0, on>>>(
      static_cast<const float4*>(from.data), static_cast<uint2*>(to.data), from.count / 4);
  return true;
}

void cast(FlatSpan from, FlatSpan to, Stream& stream) {
  if (from.count == 0) return;
  const cudaStream_t on = native(stream);
  if (from.dtype == to.dtype) {
    copy_on_device(to.data, from.data, from.bytes(), on);
    return;
  }
  if (from.dtype == Dtype::f32 && to.dtype == Dtype::bf16 && narrow<__nv_bfloat16>(from, to, on))
    return check_launch("cast");
  if (from.dtype == Dtype::f32 && to.dtype == Dtype::f16 && narrow<__half>(from, to, on))
    return check_launch("cast");
  with_device_float(from.dtype, [&]<class From>(From*) {
    with_device_float(to.dtype, [&]<class To>(To*) {
      cast_kernel<<<blocks_for(from.count, from.device), kBlockThreads, 0, on>>>(
          static_cast<const From*>(from.data), static_cast<To*>(to.data), from.count);
    });
  });
  check_launch("cast");
}

template <class T>
void launch_sum(FlatSpan left, FlatSpan right, FlatSpan out, cudaStream_t on) {
  const auto* a = static_cast<const T*>(left.data);
  const auto* b = static_cast<const T*>(right.data);
  auto* c = static_cast<T*>(out.data);
  std::int64_t packs = 0;
  if (aligned(a) && aligned(b) && aligned(c)) packs = out.count / Pack<T>::kCount;
  if (packs > 0) sum_packs_kernel<<<blocks_for(packs, out.device), kBlockThreads, 0, on>>>(a, b, c, packs);
  const std::int64_t done = packs * Pack<T>::kCount;
  if (done < out.count)
    sum_kernel<<<blocks_for(out.count - done, out.device), kBlockThreads, 0, on>>>(
        a + done, b + done, c + done, out.count - done);
}

void sum(FlatSpan left, FlatSpan right, FlatSpan out, Stream& stream) {
  if (out.count == 0) return;
  const cudaStream_t on = native(stream);
  if (out.dtype == Dtype::i32) {
    launch_sum<unsigned>(left, right, out, on);
  } else if (out.dtype == Dtype::i64) {
    launch_sum<unsigned long long>(left, right, out, on);
  } else {
    with_device_float(out.dtype, [&]<class T>(T*) { launch_sum<T>(left, right, out, on); });
  }
  check_launch("sum");
}

void axpy(float factor, FlatSpan x, FlatSpan y, Stream& stream) {
  if (x.count == 0) return;
  axpy_kernel<<<blocks_for(x.count, x.device), kBlockThreads, 0, native(stream)>>>(
      factor, static_cast<const float*>(x.data), static_cast<float*>(y.data), x.count);
  check_launch("axpy");
}

void scale(float factor, FlatSpan x, Stream& stream) {
  if (x.count == 0) return;
  scale_kernel<<<blocks_for(x.count, x.device), kBlockThreads, 0, native(stream)>>>(
      factor, static_cast<float*>(x.data), x.count);
  check_launch("scale");
}

}  // namespace

const Kernels cuda_kernels = {
    .fill = fill,
    .cast = cast,
    .sum = sum,
    .axpy = axpy,
    .scale = scale,
    .sum_of_squares = cuda_sum_of_squares,
    .count_nonfinite = cuda_count_nonfinite,
};

}  // namespace lockstep::vector
