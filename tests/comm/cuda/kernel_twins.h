// A loop for compressors on the host and on a GPU: what both return, and arrays and runs to give them.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/compress/kernels.h"
#include "core/random.h"
#include "tests/comm/cuda/twins.h"

namespace lockstep::comm {

using Floats = std::vector<float>;
using Integers = std::vector<std::int32_t>;

inline Floats normals(std::int64_t count, std::uint64_t seed = 1) {
  const RandomSource source(seed, "gpu kernels test", 0);
  Floats values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = source.normal(i);
  return values;
}

/// One device, its table and a stream.
struct Site {
  explicit Site(Device where) : device(where), kernels(compress_kernels(where)), stream(make_stream(where)) {}
  template <class T>
  [[nodiscard]] FlatArray holding(const std::vector<T>& values) const {
    return array_of(values, device);
  }
  [[nodiscard]] FlatArray floats(std::int64_t count) const { return make_array(device, Dtype::f32, count); }
  [[nodiscard]] FlatArray integers(std::int64_t count) const { return make_array(device, Dtype::i32, count); }
  template <class T>
  [[nodiscard]] std::vector<T> read(const FlatArray& array) const {
    stream->synchronize();
    return host_copy<T>(array.span);
  }
  Device device;
  const Kernels& kernels;
  std::unique_ptr<Stream> stream;
};

class GpuKernels : public testing::Test {
 protected:
  void SetUp() override { LOCKSTEP_NEEDS_VISIBLE_GPU(); }
  /// What `run` returns for the host and for the GPU has the same bits.
  template <class Run>
  static void expect_same(const std::string& what, Run&& run) {
    const Site host(Device{}), gpu(kGpu);
    const auto expected = run(host);
    const auto seen = run(gpu);
    EXPECT_TRUE(same_bits(expected, seen)) << what;
  }
};

/// Runs with gaps between them; sizes around tiles.
inline Runs runs_of(std::initializer_list<std::pair<std::int64_t, std::int64_t>> counts_and_keeps) {
  std::vector<Selection> runs;
  std::int64_t first = 0;
  for (const auto& [count, keep] : counts_and_keeps) {
    runs.push_back({first, count, keep});
    first += (count + 63) / 64 * 64 + 64;
  }
  return make_runs(std::move(runs));
}
inline std::int64_t end_of(const Runs& runs) { return runs->list.back().first + runs->list.back().count; }
inline std::int64_t kept_by(const Runs& runs) {
  std::int64_t kept = 0;
  for (const Selection& run : runs->list) kept += run.keep;
  return kept;
}
inline const auto kSomeRuns = {std::pair<std::int64_t, std::int64_t>{1, 1},
                               {63, 5},
                               {4096, 4096},
                               {4097, 1},
                               {12'289, 700},
                               {100'003, 5000},
                               {1'500'007, 20'011}};

}  // namespace lockstep::comm
