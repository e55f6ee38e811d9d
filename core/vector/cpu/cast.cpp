// Conversions between the float dtypes on the host. Everything goes through f32.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/cpu_dispatch.h"
#include "core/vector/cpu/cpu_kernels.h"
#include "core/vector/cpu/dtypes.h"

namespace lockstep::vector {

namespace {

template <class Half>
inline void narrow(const float* __restrict from, Half* __restrict to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = rounded<Half>(from[i]);
}
template <class Half>
inline void widen(const Half* __restrict from, float* __restrict to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = widened(from[i]);
}
LOCKSTEP_HOT_LOOP void f32_to_bf16(const float* from, Bf16* to, std::int64_t count) {
  narrow(from, to, count);
}
LOCKSTEP_HOT_LOOP void f32_to_f16(const float* from, F16* to, std::int64_t count) { narrow(from, to, count); }
LOCKSTEP_HOT_LOOP void bf16_to_f32(const Bf16* from, float* to, std::int64_t count) {
  widen(from, to, count);
}
LOCKSTEP_HOT_LOOP void f16_to_f32(const F16* from, float* to, std::int64_t count) { widen(from, to, count); }

template <class From, class To>
void convert(const From* from, To* to, std::int64_t count) {
  if constexpr (std::is_same_v<From, float> && std::is_same_v<To, Bf16>) {
    f32_to_bf16(from, to, count);
  } else if constexpr (std::is_same_v<From, float> && std::is_same_v<To, F16>) {
    f32_to_f16(from, to, count);
  } else if constexpr (std::is_same_v<From, Bf16> && std::is_same_v<To, float>) {
    bf16_to_f32(from, to, count);
  } else if constexpr (std::is_same_v<From, F16> && std::is_same_v<To, float>) {
    f16_to_f32(from, to, count);
  } else {
    std::transform(from, from + count, to,
                   [](From value) { return static_cast<To>(static_cast<float>(value)); });
  }
}

void convert(FlatSpan from, FlatSpan to) {
  with_float_dtype(from.dtype, [&]<class From>(From* /*tag*/) {
    with_float_dtype(to.dtype, [&]<class To>(To* /*tag*/) {
      convert(from.as<From>().data(), to.as<To>().data(), from.count);
    });
  });
}

}  // namespace

void cpu_cast(FlatSpan from, FlatSpan to, Stream& stream) {
  stream.host([from, to] {
    if (from.dtype != to.dtype) {
      convert(from, to);
    } else if (from.count > 0) {
      std::memcpy(to.data, from.data, from.bytes());
    }
  });
}

}  // namespace lockstep::vector
