// The GPU's loops for compressors beside the host's: bits where no sum changes its order, else to rounding.
#include <cmath>
#include <limits>

#include "tests/comm/cuda/kernel_twins.h"

namespace lockstep::comm {
namespace {

TEST_F(GpuKernels, residuals_are_added_and_settled) {
  for (const std::int64_t count : {1, 255, 1009, 300'007}) {
    for (const std::int32_t accepted : {0, 1}) {
      for (const float factor : {0.0f, 0.3f}) {
        expect_same(
            std::to_string(count) + " values, verdict " + std::to_string(accepted), [&](const Site& on) {
              const FlatArray g = on.holding(normals(count, 1)), e = on.holding(normals(count, 2));
              const FlatArray p = on.holding(normals(count, 3)), verdict = on.holding(Integers{accepted});
              const FlatArray bad = on.holding(std::vector<std::int64_t>{5});
              on.kernels.add_residual(g.span, e.span, p.span, factor, verdict.span, bad.span, *on.stream);
              Floats all = on.read<float>(e);
              for (const float x : on.read<float>(p)) all.push_back(x);
              all.push_back(static_cast<float>(on.read<std::int64_t>(bad).front()));
              return all;
            });
      }
    }
  }
}

TEST_F(GpuKernels, numbers_that_are_not_finite_are_counted_and_cleared) {
  Floats values = normals(100'003);
  for (std::size_t i = 7; i < values.size(); i += 1013) values[i] = std::numeric_limits<float>::quiet_NaN();
  for (std::size_t i = 64; i < 200; ++i) values[i] = -std::numeric_limits<float>::infinity();
  expect_same("counts", [&](const Site& on) {
    const FlatArray x = on.holding(values), y = on.floats(100'003);
    const FlatArray bad = on.holding(std::vector<std::int64_t>{1});
    on.kernels.scaled(x.span, y.span, 2, bad.span, *on.stream);
    return on.read<std::int64_t>(bad);
  });
  for (const std::int64_t flag : {0, 3}) {
    expect_same("clear_if", [&](const Site& on) {
      const FlatArray x = on.holding(normals(1009)), set = on.holding(std::vector<std::int64_t>{flag});
      on.kernels.clear_if(x.span, set.span, *on.stream);
      return on.read<float>(x);
    });
  }
}

TEST_F(GpuKernels, verdict_is_that_nothing_is_skipped) {
  for (const std::int32_t skip : {0, 1, 2}) {
    expect_same("verdict", [&](const Site& on) {
      const FlatArray reason = on.holding(Integers{skip}), verdict = on.holding(Integers{7});
      on.kernels.accept(static_cast<const std::int32_t*>(reason.span.data), verdict.span, *on.stream);
      return on.read<std::int32_t>(verdict);
    });
  }
}

Floats with_ties(std::int64_t count) {
  Floats values = normals(count);
  for (float& x : values) x = std::round(4 * x);
  return values;
}

TEST_F(GpuKernels, largest_values_are_selected_in_order) {
  for (const bool ties : {false, true}) {
    expect_same(ties ? "selection with ties" : "selection", [&](const Site& on) {
      const Runs runs = runs_of(kSomeRuns);
      const FlatArray x = on.holding(ties ? with_ties(end_of(runs)) : normals(end_of(runs)));
      const FlatArray indices = on.integers(kept_by(runs));
      for (int time = 0; time < 2; ++time) on.kernels.select(x.span, runs, indices.span, *on.stream);
      return on.read<std::int32_t>(indices);
    });
  }
  expect_same("selection of zeros", [&](const Site& on) {
    const Runs runs = runs_of(kSomeRuns);
    const FlatArray x = on.floats(end_of(runs)), indices = on.integers(kept_by(runs));
    on.kernels.select(x.span, runs, indices.span, *on.stream);
    return on.read<std::int32_t>(indices);
  });
}

TEST_F(GpuKernels, indexed_values_move) {
  const Runs runs = runs_of(kSomeRuns);
  const std::int64_t count = end_of(runs), kept = kept_by(runs);
  const auto drawn = [&](const Site& on) {
    FlatArray indices = on.integers(kept);
    on.kernels.draw(runs_of(kSomeRuns), 77, indices.span, *on.stream);
    return indices;
  };
  expect_same("draw", [&](const Site& on) { return on.read<std::int32_t>(drawn(on)); });
  expect_same("pick", [&](const Site& on) {
    const FlatArray indices = drawn(on), x = on.holding(normals(count)), picked = on.floats(kept);
    on.kernels.pick(x.span, indices.span, picked.span, *on.stream);
    return on.read<float>(picked);
  });
  expect_same("place, add_at and clear_at", [&](const Site& on) {
    const FlatArray indices = drawn(on), x = on.holding(normals(count)), small = on.holding(normals(kept, 3));
    on.kernels.place(small.span, indices.span, x.span, *on.stream);
    on.kernels.add_at(small.span, indices.span, x.span, 0.7f, *on.stream);
    on.kernels.clear_at(x.span, indices.span.part(0, kept / 2), *on.stream);
    return on.read<float>(x);
  });
}

Runs blocks_of(std::int64_t count) {
  std::vector<Selection> runs;
  for (std::int64_t at = 0; at < count; at += 1024)
    runs.push_back({at, std::min<std::int64_t>(1024, count - at), 1});
  return make_runs(std::move(runs));
}

TEST_F(GpuKernels, magnitudes_of_runs_have_the_hosts_bits) {
  for (const std::int64_t count : {1, 15, 1023, 1024, 1025, 100'003}) {
    const auto magnitudes = [&](const Site& on, auto kernel) {
      const Runs runs = blocks_of(count);
      const FlatArray x = on.holding(normals(count)),
                      out = on.floats(static_cast<std::int64_t>(runs->list.size()));
      kernel(x.span, runs, out.span, *on.stream);
      on.kernels.scale_runs(x.span, runs, out.span, *on.stream);
      Floats all = on.read<float>(out);
      for (const float value : on.read<float>(x)) all.push_back(value);
      return all;
    };
    const std::string what = " magnitudes of " + std::to_string(count) + " values";
    expect_same("largest" + what,
                [&](const Site& on) { return magnitudes(on, on.kernels.largest_magnitudes); });
    expect_same("mean" + what, [&](const Site& on) { return magnitudes(on, on.kernels.mean_magnitudes); });
  }
}

TEST_F(GpuKernels, shared_grids_have_the_hosts_fields) {
  constexpr std::int64_t kCount = 100'032;
  constexpr int kRanks = 3;
  for (const Grid grid :
       {Grid{8, 42, false}, Grid{8, 42, true}, Grid{16, 10'922, false}, Grid{16, 10'922, true}}) {
    expect_same(std::to_string(grid.bits) + (grid.stochastic ? " bits at random" : " bits"),
                [&](const Site& on) {
                  const Runs runs = blocks_of(kCount - 29);
                  const auto blocks = static_cast<std::int64_t>(runs->list.size());
                  const FlatArray x = on.holding(normals(kCount)), largest = on.floats(blocks);
                  Floats all(static_cast<std::size_t>(blocks * kRanks), 1.0f);
                  for (std::size_t i = 0; i < all.size(); i += 2) all[i] = 5.25f;
                  const FlatArray everyones = on.holding(all), mean = on.floats(kCount);
                  const FlatArray codes = on.integers(kCount * grid.bits / 32);
                  on.kernels.grid_steps(everyones.span, grid, largest.span, *on.stream);
                  on.kernels.to_grid(x.span, runs, largest.span, grid, 99, codes.span, *on.stream);
                  on.kernels.from_grid(codes.span, runs, largest.span, grid, 1, mean.span, *on.stream);
                  Floats seen = on.read<float>(x);
                  for (const float value : on.read<float>(mean)) seen.push_back(value);
                  for (const std::int32_t word : on.read<std::int32_t>(codes))
                    seen.push_back(static_cast<float>(word & 0xffff));
                  return seen;
                });
  }
}

void expect_near(const Floats& host, const Floats& gpu, double tolerance, const std::string& what) {
  ASSERT_EQ(host.size(), gpu.size());
  double error = 0, size = 0;
  for (std::size_t i = 0; i < host.size(); ++i) {
    error += std::pow(static_cast<double>(host[i]) - static_cast<double>(gpu[i]), 2);
    size += std::pow(static_cast<double>(host[i]), 2);
  }
  EXPECT_LE(std::sqrt(error), tolerance * std::sqrt(size)) << what;
}

struct Factors {
  Floats p, orthonormal, q, rest;
};
/// One step of PowerSGD.
Factors factors_of(const Site& on, const Matrix& m, int rank) {
  const FlatArray values = on.holding(normals(m.first + m.rows * m.columns));
  const FlatArray p = on.floats(rank * m.rows), q = on.holding(normals(rank * m.columns, 2));
  on.kernels.times_right(values.span, m, q.span, p.span, rank, *on.stream);
  Factors seen{.p = on.read<float>(p)};
  on.kernels.orthonormalise(p.span, m.rows, rank, *on.stream);
  seen.orthonormal = on.read<float>(p);
  on.kernels.times_left(values.span, m, p.span, q.span, rank, *on.stream);
  seen.q = on.read<float>(q);
  on.kernels.add_product(p.span, q.span, rank, -1, true, values.span, m, *on.stream);
  seen.rest = on.read<float>(values);
  return seen;
}

TEST_F(GpuKernels, factors_are_the_hosts_to_rounding) {
  const Site host(Device{}), gpu(kGpu);
  for (const Matrix& m :
       {Matrix{0, 1, 7}, Matrix{64, 37, 130}, Matrix{0, 1000, 33}, Matrix{128, 515, 1031}}) {
    for (const int rank : {1, 4, 8, 13}) {
      if (rank > m.rows || rank > m.columns) continue;
      const Factors a = factors_of(host, m, rank), b = factors_of(gpu, m, rank);
      const std::string what =
          std::to_string(m.rows) + " x " + std::to_string(m.columns) + ", rank " + std::to_string(rank);
      expect_near(a.p, b.p, 1e-5, "M Q of " + what);
      expect_near(a.orthonormal, b.orthonormal, 1e-4, "orthonormal columns of " + what);
      expect_near(a.q, b.q, 1e-4, "M^T P of " + what);
      expect_near(a.rest, b.rest, 1e-4, "M - P Q^T of " + what);
    }
  }
}

TEST_F(GpuKernels, products_and_revived_columns_have_the_hosts_bits) {
  const Matrix m{0, 101, 67};
  for (const bool keep : {false, true}) {
    expect_same("product", [&](const Site& on) {
      const FlatArray values = on.holding(normals(101 * 67)), p = on.holding(normals(5 * 101, 2));
      const FlatArray q = on.holding(normals(5 * 67, 3));
      on.kernels.add_product(p.span, q.span, 5, 0.3f, keep, values.span, m, *on.stream);
      return on.read<float>(values);
    });
  }
  expect_same("revived columns", [&](const Site& on) {
    Floats columns = normals(4 * 67);
    std::fill_n(columns.begin() + 67, 67, 0.0f);
    std::fill_n(columns.begin() + 201, 66, 0.0f);  // all but its last
    const FlatArray q = on.holding(columns), spare = on.holding(normals(4 * 67, 5));
    on.kernels.revive(q.span, spare.span, 67, 4, *on.stream);
    return on.read<float>(q);
  });
}

}  // namespace
}  // namespace lockstep::comm
