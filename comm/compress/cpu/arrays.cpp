// The host's loops over packed arrays.
#include <cmath>

#include "comm/compress/cpu/cpu_kernels.h"
#include "comm/compress/cpu/inline.h"
#include "core/cpu_dispatch.h"

namespace lockstep::comm {
namespace {

constexpr std::int64_t kBlock = 4096;  // a 32-bit counter per lane is enough, and it stays in the first cache

LOCKSTEP_HOT_LOOP std::int64_t scale_block(const float* from, float* to, float factor, std::int64_t count) {
  std::uint32_t bad = 0;
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i) {
    const float value = factor * from[i];
    bad += static_cast<std::uint32_t>(is_nonfinite(value));
    to[i] = value;
  }
  return bad;
}

LOCKSTEP_HOT_LOOP std::int64_t add_residual_block(const float* gradient, float* residual, float* values,
                                                  float factor, bool kept, std::int64_t count) {
  std::uint32_t bad = 0;
  const float* before = kept ? values : residual;
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i) {
    const float rest = before[i];
    const float value = factor * gradient[i] + rest;
    bad += static_cast<std::uint32_t>(is_nonfinite(value));
    residual[i] = rest;
    values[i] = value;
  }
  return bad;
}

}  // namespace

void cpu_settle(FlatSpan settled, FlatSpan current, FlatSpan verdict, Stream& stream) {
  stream.host([settled, current, verdict] {
    const bool kept = *static_cast<const std::int32_t*>(verdict.data) != 0;
    const FlatSpan from = kept ? current : settled;
    const FlatSpan to = kept ? settled : current;
    if (from.count > 0) std::memcpy(to.data, from.data, from.bytes());
  });
}

void cpu_accept(const std::int32_t* skip, FlatSpan verdict, Stream& stream) {
  stream.host([skip, verdict] { *static_cast<std::int32_t*>(verdict.data) = *skip == 0 ? 1 : 0; });
}

void cpu_add_residual(FlatSpan gradient, FlatSpan residual, FlatSpan values, float factor, FlatSpan verdict,
                      FlatSpan bad, Stream& stream) {
  if (factor == 0) {
    cpu_settle(residual, values, verdict, stream);
    return;
  }
  stream.host([=] {
    const bool kept = *static_cast<const std::int32_t*>(verdict.data) != 0;
    const float* g = gradient.as<float>().data();
    float* e = residual.as<float>().data();
    float* p = values.as<float>().data();
    std::int64_t found = 0;
    for (std::int64_t first = 0; first < gradient.count; first += kBlock) {
      found += add_residual_block(g + first, e + first, p + first, factor, kept,
                                  std::min(kBlock, gradient.count - first));
    }
    *static_cast<std::int64_t*>(bad.data) += found;
  });
}

void cpu_scaled(FlatSpan from, FlatSpan to, float factor, FlatSpan bad, Stream& stream) {
  stream.host([=] {
    std::int64_t found = 0;
    for (std::int64_t first = 0; first < from.count; first += kBlock) {
      found += scale_block(from.as<float>().data() + first, to.as<float>().data() + first, factor,
                           std::min(kBlock, from.count - first));
    }
    if (bad.count == 1) *static_cast<std::int64_t*>(bad.data) += found;
  });
}

void cpu_clear_if(FlatSpan x, FlatSpan flag, Stream& stream) {
  stream.host([=] {
    if (*static_cast<const std::int64_t*>(flag.data) != 0) std::memset(x.data, 0, x.bytes());
  });
}

void cpu_pick(FlatSpan values, FlatSpan indices, FlatSpan picked, Stream& stream) {
  stream.host([=] {
    const float* x = values.as<float>().data();
    float* out = picked.as<float>().data();
    const auto places = indices.as<std::int32_t>();
    for (std::size_t j = 0; j < places.size(); ++j) out[j] = x[places[j]];
  });
}

void cpu_clear_at(FlatSpan values, FlatSpan indices, Stream& stream) {
  if (indices.count == 0) return;
  stream.host([=] {
    float* x = values.as<float>().data();
    for (const std::int32_t place : indices.as<std::int32_t>()) x[place] = 0;
  });
}

void cpu_place(FlatSpan placed, FlatSpan indices, FlatSpan values, Stream& stream) {
  stream.host([=] {
    float* x = values.as<float>().data();
    const float* from = placed.as<float>().data();
    const auto places = indices.as<std::int32_t>();
    for (std::size_t j = 0; j < places.size(); ++j) x[places[j]] = from[j];
  });
}

void cpu_draw(Runs runs, std::uint32_t key, FlatSpan indices, Stream& stream) {
  stream.host([runs = std::move(runs), key, indices] {
    std::int32_t* out = indices.as<std::int32_t>().data();
    for (const Selection& run : runs->list) {
      for (std::int64_t j = 0; j < run.keep; ++j) {
        const std::int64_t begin = run.count * j / run.keep;
        const std::int64_t length = run.count * (j + 1) / run.keep - begin;
        const std::uint64_t random = random_bits(key, static_cast<std::uint32_t>(run.first + begin));
        const auto step = static_cast<std::int64_t>(random * static_cast<std::uint64_t>(length) >> 32);
        *out++ = static_cast<std::int32_t>(run.first + begin + step);
      }
    }
  });
}

void cpu_add_at(FlatSpan picked, FlatSpan indices, FlatSpan values, float factor, Stream& stream) {
  stream.host([=] {
    float* x = values.as<float>().data();
    const float* add = picked.as<float>().data();
    const auto places = indices.as<std::int32_t>();
    for (std::size_t j = 0; j < places.size(); ++j) x[places[j]] += factor * add[j];
  });
}

}  // namespace lockstep::comm
