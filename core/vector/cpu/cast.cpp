// Conversions between the float dtypes on the host. Everything but f64 <-> f32 goes through f32.
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/cpu_dispatch.h"
#include "core/vector/cpu/cpu_kernels.h"
#include "core/vector/cpu/dtypes.h"

namespace lockstep::vector {

namespace {

LOCKSTEP_HOT_LOOP void f32_to_bf16(const float* __restrict from, Bf16* __restrict to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i].bits = rounded(from[i]);
}

LOCKSTEP_HOT_LOOP void bf16_to_f32(const Bf16* __restrict from, float* __restrict to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = widened(from[i].bits);
}

template <class From, class To>
void convert(const From* from, To* to, std::int64_t count) {
  if constexpr (std::is_same_v<From, float> && std::is_same_v<To, Bf16>) {
    f32_to_bf16(from, to, count);
  } else if constexpr (std::is_same_v<From, Bf16> && std::is_same_v<To, float>) {
    bf16_to_f32(from, to, count);
  } else {
    for (std::int64_t i = 0; i < count; ++i) to[i] = static_cast<To>(static_cast<float>(from[i]));
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
