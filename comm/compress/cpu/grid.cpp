// Integers on a shared grid, and magnitudes of runs, on the host. A field holds code + levels, so that sums
// of fields never carry into the next one; fields lie in memory like arrays of u8 or u16.
#include <algorithm>

#include "comm/compress/cpu/cpu_kernels.h"
#include "comm/compress/cpu/inline.h"
#include "core/cpu_dispatch.h"

namespace lockstep::comm {
namespace {

LOCKSTEP_HOT_LOOP float largest(const float* x, std::int64_t count) {
  std::uint32_t most = 0;
  for (std::int64_t i = 0; i < count; ++i) most = std::max(most, magnitude_bits(x[i]));
  return std::bit_cast<float>(most);
}

LOCKSTEP_HOT_LOOP double sum_of_magnitudes(const float* x, std::int64_t count) {
  double lanes[16] = {};
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    for (std::int64_t lane = 0; lane < 16; ++lane)
      lanes[lane] += static_cast<double>(std::bit_cast<float>(magnitude_bits(x[i + lane])));
  }
  double sum = 0;
  for (double lane : lanes) sum += lane;
  for (; i < count; ++i) sum += static_cast<double>(std::bit_cast<float>(magnitude_bits(x[i])));
  return sum;
}

template <class Field>
LOCKSTEP_INLINE void encode_run(float* x, std::int64_t count, float step, const Grid& grid, std::uint32_t key,
                                std::uint32_t element, Field* fields) {
  const float inverse = inverse_of(step);
  const std::int32_t most = 2 * grid.levels;
  const auto levels = static_cast<float>(grid.levels);
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i) {
    const float unit = random_unit(key, element + static_cast<std::uint32_t>(i));
    const std::int32_t code = grid_field(x[i] * inverse, levels, grid.stochastic ? unit : 0.5f, most);
    fields[i] = static_cast<Field>(code);
    x[i] -= static_cast<float>(code - grid.levels) * step;
  }
}

template <class Field>
LOCKSTEP_INLINE void decode_run(const Field* fields, std::int64_t count, float step, std::int32_t zero,
                                float share, float* mean) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i)
    mean[i] = static_cast<float>(static_cast<std::int32_t>(fields[i]) - zero) * step * share;
}

LOCKSTEP_HOT_LOOP void encode8(float* x, std::int64_t count, float step, const Grid& grid, std::uint32_t key,
                               std::uint32_t element, std::uint8_t* fields) {
  encode_run(x, count, step, grid, key, element, fields);
}
LOCKSTEP_HOT_LOOP void encode16(float* x, std::int64_t count, float step, const Grid& grid, std::uint32_t key,
                                std::uint32_t element, std::uint16_t* fields) {
  encode_run(x, count, step, grid, key, element, fields);
}
LOCKSTEP_HOT_LOOP void decode8(const std::uint8_t* fields, std::int64_t count, float step, std::int32_t zero,
                               float share, float* mean) {
  decode_run(fields, count, step, zero, share, mean);
}
LOCKSTEP_HOT_LOOP void decode16(const std::uint16_t* fields, std::int64_t count, float step,
                                std::int32_t zero, float share, float* mean) {
  decode_run(fields, count, step, zero, share, mean);
}

}  // namespace

void cpu_largest_magnitudes(FlatSpan values, Runs runs, FlatSpan out, Stream& stream) {
  stream.host([values, runs = std::move(runs), out] {
    for (std::size_t i = 0; i < runs->list.size(); ++i)
      out.as<float>()[i] = largest(values.as<float>().data() + runs->list[i].first, runs->list[i].count);
  });
}

void cpu_mean_magnitudes(FlatSpan values, Runs runs, FlatSpan out, Stream& stream) {
  stream.host([values, runs = std::move(runs), out] {
    for (std::size_t i = 0; i < runs->list.size(); ++i) {
      const Selection& run = runs->list[i];
      const double sum = sum_of_magnitudes(values.as<float>().data() + run.first, run.count);
      out.as<float>()[i] = static_cast<float>(sum / static_cast<double>(run.count));
    }
  });
}

void cpu_scale_runs(FlatSpan values, Runs runs, FlatSpan factors, Stream& stream) {
  stream.host([values, runs = std::move(runs), factors] {
    for (std::size_t i = 0; i < runs->list.size(); ++i) {
      float* x = values.as<float>().data() + runs->list[i].first;
      const float factor = factors.as<float>()[i];
      for (std::int64_t j = 0; j < runs->list[i].count; ++j) x[j] *= factor;
    }
  });
}

void cpu_grid_steps(FlatSpan everyones, Grid grid, FlatSpan steps, Stream& stream) {
  stream.host([everyones, grid, steps] {
    const auto all = everyones.as<float>();
    const auto out = steps.as<float>();
    for (std::size_t i = 0; i < out.size(); ++i) {
      float most = 0;
      for (std::size_t at = i; at < all.size(); at += out.size()) most = std::max(most, all[at]);
      out[i] = scale_value(scale_for(most, grid.levels));
    }
  });
}

void cpu_to_grid(FlatSpan values, Runs runs, FlatSpan steps, Grid grid, std::uint32_t key, FlatSpan codes,
                 Stream& stream) {
  stream.host([=, runs = std::move(runs)] {
    for (std::size_t i = 0; i < runs->list.size(); ++i) {
      const Selection& run = runs->list[i];
      float* x = values.as<float>().data() + run.first;
      const float step = steps.as<float>()[i];
      const auto element = static_cast<std::uint32_t>(run.first);
      if (grid.bits == 8) {
        encode8(x, run.count, step, grid, key, element, static_cast<std::uint8_t*>(codes.data) + run.first);
      } else {
        encode16(x, run.count, step, grid, key, element, static_cast<std::uint16_t*>(codes.data) + run.first);
      }
    }
  });
}

void cpu_from_grid(FlatSpan codes, Runs runs, FlatSpan steps, Grid grid, int ranks, FlatSpan mean,
                   Stream& stream) {
  stream.host([=, runs = std::move(runs)] {
    const std::int32_t zero = grid.levels * ranks;
    const float share = 1.0f / static_cast<float>(ranks);
    for (std::size_t i = 0; i < runs->list.size(); ++i) {
      const Selection& run = runs->list[i];
      float* out = mean.as<float>().data() + run.first;
      const float step = steps.as<float>()[i];
      if (grid.bits == 8) {
        decode8(static_cast<const std::uint8_t*>(codes.data) + run.first, run.count, step, zero, share, out);
      } else {
        decode16(static_cast<const std::uint16_t*>(codes.data) + run.first, run.count, step, zero, share,
                 out);
      }
    }
  });
}

}  // namespace lockstep::comm
