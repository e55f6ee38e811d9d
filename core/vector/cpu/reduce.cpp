// Sums over an array on the host. The order of additions is part of the result: element i of a block of 4096
// goes to lane i mod 16, lanes are added pairwise, blocks one after another. So bits depend on the count
// alone, not on the vector width.
#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <numeric>

#include "core/cpu_dispatch.h"
#include "core/vector/cpu/cpu_kernels.h"
#include "core/vector/cpu/dtypes.h"

namespace lockstep::vector {

namespace {

constexpr std::int64_t kLanes = 16;    // two AVX-512 registers of double
constexpr std::int64_t kBlock = 4096;  // elements; long enough to hide the final tree, short for accuracy

using Lanes = std::array<double, kLanes>;

double added(Lanes lanes) {
  for (std::size_t width = kLanes / 2; width > 0; width /= 2) {
    for (std::size_t lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  }
  return lanes[0];
}

/// Adds the squares of whole rows of kLanes elements to the lanes.
LOCKSTEP_HOT_LOOP void square_rows(const float* x, std::int64_t rows, double* lanes) {
  double sums[kLanes];
  for (std::int64_t lane = 0; lane < kLanes; ++lane) sums[lane] = lanes[lane];
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const double value = x[row * kLanes + lane];
      sums[lane] += value * value;
    }
  }
  for (std::int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] = sums[lane];
}

template <class T>
void square_rows(const T* x, std::int64_t rows, double* lanes) {
  for (std::int64_t i = 0; i < rows * kLanes; ++i) {
    double value = 0;
    if constexpr (std::is_same_v<T, double>) {
      value = x[i];
    } else {
      value = static_cast<float>(x[i]);
    }
    lanes[i % kLanes] += value * value;
  }
}

template <class T>
double square_block(const T* x, std::int64_t count) {
  Lanes lanes{};
  const std::int64_t rows = count / kLanes;
  square_rows(x, rows, lanes.data());
  if (const std::int64_t left = count - rows * kLanes; left > 0) {
    std::array<T, kLanes> last{};  // zeros add nothing
    std::copy_n(x + rows * kLanes, left, last.begin());
    square_rows(last.data(), 1, lanes.data());
  }
  return added(lanes);
}

template <class T>
double sum_of_squares(const T* x, std::int64_t count) {
  double total = 0;
  for (std::int64_t first = 0; first < count; first += kBlock) {
    total += square_block(x + first, std::min(kBlock, count - first));
  }
  return total;
}

// Not finite: all exponent bits are ones.
std::uint64_t nonfinite(double value) {
  constexpr std::uint64_t kExponent = 0x7ff0000000000000u;
  return (std::bit_cast<std::uint64_t>(value) & kExponent) == kExponent ? 1 : 0;
}
std::uint32_t nonfinite(float value) {
  constexpr std::uint32_t kExponent = 0x7f800000u;
  return (std::bit_cast<std::uint32_t>(value) & kExponent) == kExponent ? 1 : 0;
}
std::uint32_t nonfinite(Bf16 value) { return (value.bits & 0x7f80u) == 0x7f80u ? 1 : 0; }
std::uint32_t nonfinite(F16 value) { return (value.bits & 0x7c00u) == 0x7c00u ? 1 : 0; }

/// At most kBlock elements, so that a 32-bit counter per vector lane is enough.
LOCKSTEP_HOT_LOOP std::int64_t nonfinite_in_block(const float* x, std::int64_t count) {
  std::uint32_t found = 0;
  for (std::int64_t i = 0; i < count; ++i) found += nonfinite(x[i]);
  return found;
}

template <class T>
std::int64_t nonfinite_in_block(const T* x, std::int64_t count) {
  return std::accumulate(x, x + count, std::int64_t{0}, [](std::int64_t found, T value) {
    return found + static_cast<std::int64_t>(nonfinite(value));
  });
}

template <class T>
std::int64_t count_nonfinite(const T* x, std::int64_t count) {
  std::int64_t found = 0;
  for (std::int64_t first = 0; first < count; first += kBlock) {
    found += nonfinite_in_block(x + first, std::min(kBlock, count - first));
  }
  return found;
}

}  // namespace

void cpu_sum_of_squares(FlatSpan x, FlatSpan result, Stream& stream) {
  stream.host([x, result] {
    with_float_dtype(x.dtype, [&]<class T>(T* /*tag*/) {
      result.as<double>()[0] = sum_of_squares(x.as<T>().data(), x.count);
    });
  });
}

void cpu_count_nonfinite(FlatSpan x, FlatSpan result, Stream& stream) {
  stream.host([x, result] {
    with_float_dtype(x.dtype, [&]<class T>(T* /*tag*/) {
      result.as<std::int64_t>()[0] = count_nonfinite(x.as<T>().data(), x.count);
    });
  });
}

}  // namespace lockstep::vector
