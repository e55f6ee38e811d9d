// Products of tall matrices with a few columns. Sums run in lanes of fixed number, so bits do not depend on
// the instruction set.
#include <cmath>

#include "comm/compress/cpu/cpu_kernels.h"
#include "comm/compress/cpu/inline.h"
#include "core/cpu_dispatch.h"

namespace lockstep::comm {
namespace {

constexpr std::int64_t kLanes = 64;

LOCKSTEP_HOT_LOOP float dot(const float* x, const float* y, std::int64_t count) {
  float lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += x[i + lane] * y[i + lane];
  }
  for (std::int64_t lane = 0; i + lane < count; ++lane) lanes[lane] += x[i + lane] * y[i + lane];
  for (std::int64_t lane = 0; lane < 16; ++lane)
    lanes[lane] = (lanes[lane] + lanes[lane + 16]) + (lanes[lane + 32] + lanes[lane + 48]);
  return added_lanes(lanes);
}

LOCKSTEP_HOT_LOOP void add_multiple(float factor, const float* x, float* y, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) y[i] += factor * x[i];
}

double dot_in_double(const float* x, const float* y, std::int64_t count) {
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  return sum;
}

/// Removes from `column` its parts along the columns before it; twice, because once leaves rounding behind.
void project_out(float* p, std::int64_t rows, int column) {
  float* mine = p + column * rows;
  for (int pass = 0; pass < 2; ++pass) {
    for (int before = 0; before < column; ++before) {
      const float* other = p + before * rows;
      add_multiple(-static_cast<float>(dot_in_double(other, mine, rows)), other, mine, rows);
    }
  }
}

/// Below this part of its length a projected column is only rounding.
constexpr double kVanished = 1e-6;

}  // namespace

void cpu_times_right(FlatSpan values, Matrix matrix, FlatSpan q, FlatSpan p, int rank, Stream& stream) {
  stream.host([=] {
    const float* m = values.as<float>().data() + matrix.first;
    for (std::int64_t row = 0; row < matrix.rows; ++row, m += matrix.columns) {
      for (int j = 0; j < rank; ++j) {
        p.as<float>().data()[j * matrix.rows + row] =
            dot(m, q.as<float>().data() + j * matrix.columns, matrix.columns);
      }
    }
  });
}

void cpu_times_left(FlatSpan values, Matrix matrix, FlatSpan p, FlatSpan q, int rank, Stream& stream) {
  stream.host([=] {
    const float* m = values.as<float>().data() + matrix.first;
    std::memset(q.data, 0, q.bytes());
    for (std::int64_t row = 0; row < matrix.rows; ++row, m += matrix.columns) {
      for (int j = 0; j < rank; ++j) {
        add_multiple(p.as<float>().data()[j * matrix.rows + row], m,
                     q.as<float>().data() + j * matrix.columns, matrix.columns);
      }
    }
  });
}

void cpu_orthonormalise(FlatSpan span, std::int64_t rows, int rank, Stream& stream) {
  stream.host([=] {
    float* p = span.as<float>().data();
    for (int j = 0; j < rank; ++j) {
      float* column = p + j * rows;
      const double before = std::sqrt(dot_in_double(column, column, rows));
      project_out(p, rows, j);
      const double after = std::sqrt(dot_in_double(column, column, rows));
      const float factor = after > kVanished * before ? static_cast<float>(1.0 / after) : 0.0f;
      for (std::int64_t i = 0; i < rows; ++i) column[i] *= factor;
    }
  });
}

void cpu_add_product(FlatSpan p, FlatSpan q, int rank, float factor, bool keep, FlatSpan values,
                     Matrix matrix, Stream& stream) {
  stream.host([=] {
    float* m = values.as<float>().data() + matrix.first;
    for (std::int64_t row = 0; row < matrix.rows; ++row, m += matrix.columns) {
      if (!keep) std::memset(m, 0, static_cast<std::size_t>(matrix.columns) * sizeof(float));
      for (int j = 0; j < rank; ++j) {
        add_multiple(factor * p.as<float>().data()[j * matrix.rows + row],
                     q.as<float>().data() + j * matrix.columns, m, matrix.columns);
      }
    }
  });
}

void cpu_revive(FlatSpan q, FlatSpan spare, std::int64_t rows, int rank, Stream& stream) {
  stream.host([=] {
    for (int j = 0; j < rank; ++j) {
      float* column = q.as<float>().data() + j * rows;
      if (std::any_of(column, column + rows, [](float x) { return x != 0; })) continue;
      std::copy_n(spare.as<float>().data() + j * rows, rows, column);
    }
  });
}

const Kernels cpu_compress_kernels{.settle = cpu_settle,
                                   .accept = cpu_accept,
                                   .add_residual = cpu_add_residual,
                                   .scaled = cpu_scaled,
                                   .clear_if = cpu_clear_if,
                                   .select = cpu_select,
                                   .pick = cpu_pick,
                                   .clear_at = cpu_clear_at,
                                   .place = cpu_place,
                                   .draw = cpu_draw,
                                   .add_at = cpu_add_at,
                                   .to_bitmap = cpu_to_bitmap,
                                   .from_bitmap = cpu_from_bitmap,
                                   .largest_magnitudes = cpu_largest_magnitudes,
                                   .mean_magnitudes = cpu_mean_magnitudes,
                                   .scale_runs = cpu_scale_runs,
                                   .grid_steps = cpu_grid_steps,
                                   .to_grid = cpu_to_grid,
                                   .from_grid = cpu_from_grid,
                                   .times_right = cpu_times_right,
                                   .times_left = cpu_times_left,
                                   .orthonormalise = cpu_orthonormalise,
                                   .add_product = cpu_add_product,
                                   .revive = cpu_revive};

}  // namespace lockstep::comm
