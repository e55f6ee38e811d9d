#include "comm/bench_pattern.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/error.h"
#include "core/random.h"

namespace lockstep::comm {
namespace {

/// A prime, so that shifted chunks show; small where bf16 holds integers up to 256 only.
std::int64_t period_of(Dtype dtype) { return dtype == Dtype::bf16 ? 3 : 251; }

/// Calls body with a null pointer of the element type.
template <class Body>
void with_type(Dtype dtype, Body&& body) {
  switch (dtype) {
    case Dtype::f32:
      return body(static_cast<float*>(nullptr));
    case Dtype::f64:
      return body(static_cast<double*>(nullptr));
    case Dtype::bf16:
      return body(static_cast<Bf16*>(nullptr));
    case Dtype::i32:
      return body(static_cast<std::int32_t*>(nullptr));
    default:
      throw Error(Fault::config, fmt::format("bench allreduce cannot use type {}", name_of(dtype)),
                  "use f32, f64, bf16 or i32");
  }
}

double number(Bf16 x) { return static_cast<double>(static_cast<float>(x)); }
template <class T>
double number(T x) {
  return static_cast<double>(x);
}

}  // namespace

std::vector<float> values_of(int rank, std::int64_t at_most) {
  constexpr std::int64_t kPeriod = 65521;
  const RandomSource common(1, "averaging bench", 0);
  const RandomSource own(1, "averaging bench", static_cast<std::uint64_t>(rank) + 1);
  std::vector<float> values(static_cast<std::size_t>(std::min(at_most, kPeriod)));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = 0.3f * common.normal(i) + own.normal(2 * i) * std::exp(0.7f * own.normal(2 * i + 1));
  return values;
}

void fill_with_values(FlatSpan data, const std::vector<float>& values) {
  with_type(data.dtype, [&]<class T>(T*) {
    constexpr float kUnit = std::is_integral_v<T> ? 1e6f : 1.0f;
    std::size_t next = 0;
    for (T& x : data.as<T>()) {
      x = static_cast<T>(kUnit * values[next]);
      if (++next == values.size()) next = 0;
    }
  });
}

Pattern::Pattern(int rank, int ranks, Dtype dtype)
    : sums_(static_cast<std::size_t>(period_of(dtype))), rank_(rank) {
  for (std::size_t i = 0; i < sums_.size(); ++i) {
    for (int each = 0; each < ranks; ++each) {
      sums_[i] += static_cast<double>((i + static_cast<std::size_t>(each)) % sums_.size());
    }
  }
}

void Pattern::fill(FlatSpan data) const {
  with_type(data.dtype, [&]<class T>(T*) {
    std::size_t next = static_cast<std::size_t>(rank_) % sums_.size();
    for (T& x : data.as<T>()) {
      x = static_cast<T>(static_cast<float>(next));
      if (++next == sums_.size()) next = 0;
    }
  });
}

std::int64_t Pattern::count_wrong(FlatSpan data) const {
  std::int64_t wrong = 0;
  with_type(data.dtype, [&]<class T>(T*) {
    std::size_t next = 0;
    for (const T x : data.as<T>()) {
      wrong += number(x) != sums_[next];
      if (++next == sums_.size()) next = 0;
    }
  });
  return wrong;
}

void Pattern::check(int ranks, Dtype dtype) {
  with_type(dtype, [](auto*) {});
  // The largest sum, ranks * (period - 1), must be an exact integer of the type.
  const std::int64_t exact = dtype == Dtype::bf16 ? 256 : 1 << 24;
  if (ranks * (period_of(dtype) - 1) > exact) {
    throw Error(Fault::config, fmt::format("sums over {} ranks are not exact in {}", ranks, name_of(dtype)),
                "use f32");
  }
}

}  // namespace lockstep::comm
