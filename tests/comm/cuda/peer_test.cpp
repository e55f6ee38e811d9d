// Sums over memory that GPUs map from each other, judged by exact integers and by the plans run in memory.
// Two ranks may share a GPU here: slowly, but with the same code.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "core/cuda/cuda.h"
#include "tests/comm/cuda/device_sums.h"

namespace lockstep::comm {
namespace {

/// Messages go by MPI.
struct PeerSummer : DeviceSummer {
  explicit PeerSummer(const Settings& settings) : DeviceSummer("peer", settings, "mpi") {}
};

template <class T>
void expect_exact_at_all_sizes(PeerSummer& summer, const std::string& what) {
  for (const std::int64_t count : {0, 1, 2, 3, 5, 97, 1024, 4099, 65'536, 100'003, 1'000'003}) {
    const FlatArray own = make_array(summer.site.device, dtype_of<T>, count + 1);
    expect_exact<T>(summer, own.span.part(0, count), what + ", own memory");
    expect_exact<T>(summer, own.span.part(1, count), what + ", own memory, odd start");
    if (const FlatSpan lent = summer.lent(dtype_of<T>, count); lent.data != nullptr)
      expect_exact<T>(summer, lent, what + ", lent memory");
  }
}

struct Variant {
  std::string name;
  Settings settings;
};
std::vector<Variant> variants() {
  return {{"default", {}},
          {"two shots", {{"one_shot", "0"}}},
          {"two shots of one block", {{"one_shot", "0"}, {"blocks", "1"}}},
          {"copies", {{"one_shot", "0"}, {"copies_from", "0"}}}};
}

class PeerSum : public ::testing::Test {
 protected:
  void SetUp() override {
    if (gpus() == 0) GTEST_SKIP() << "no GPU is visible";
  }
};

TEST_F(PeerSum, all_variants_types_and_sizes_are_exact) {
  for (const Variant& variant : variants()) {
    PeerSummer summer(variant.settings);
    expect_exact_at_all_sizes<float>(summer, variant.name);
    expect_exact_at_all_sizes<Bf16>(summer, variant.name);
    expect_exact_at_all_sizes<double>(summer, variant.name);
    expect_exact_at_all_sizes<std::int32_t>(summer, variant.name);
  }
}

TEST_F(PeerSum, long_arrays_pass_through_scratch_memory_in_pieces) {
  constexpr std::int64_t kCount = 70'000'003;  // two pieces at two ranks
  PeerSummer summer(Settings{{"copies_from", "0"}});
  const Memory memory = summer.collectives->shared_memory(kCount * sizeof(float));
  if (memory.data() == nullptr) GTEST_SKIP() << "one rank has nobody to share with";
  expect_exact<float>(summer, memory.view(Dtype::f32, kCount), "long array");
}

TEST_F(PeerSum, random_floats_have_the_bits_of_the_plans_on_every_rank) {
  for (const Variant& variant : variants()) {
    PeerSummer summer(variant.settings);
    for (const std::int64_t count : {7, 4099, 200'003}) {
      auto mine = normal_values(world().rank(), count);
      const FlatArray data = make_array(summer.site.device, Dtype::f32, count);
      summer.sum(data.span, mine);
      std::vector<std::vector<float>> arrays;
      for (int rank = 0; rank < world().size(); ++rank) arrays.push_back(normal_values(rank, count));
      run_plans(*schedule_named("halving_doubling"), arrays, world().size());
      ASSERT_EQ(std::memcmp(mine.data(), arrays[0].data(), mine.size() * sizeof(float)), 0)
          << variant.name << ", " << count << " elements";
    }
  }
}

TEST_F(PeerSum, sums_enqueued_one_behind_another_do_not_mix) {
  PeerSummer summer({});
  constexpr int kTimes = 40;
  const std::vector<std::int64_t> counts{3, 1000, 200'000, 70, 65'536, 131'072};
  std::vector<FlatArray> arrays;
  for (const std::int64_t count : counts) {
    arrays.push_back(make_array(summer.site.device, Dtype::f64, count));
    const std::vector<double> ones(static_cast<std::size_t>(count), 1.0 + world().rank());
    copy_from_host(ones.data(), arrays.back().span);
  }
  for (int time = 0; time < kTimes; ++time)
    for (const FlatArray& array : arrays) summer.collectives->sum(array.span, *summer.stream);
  summer.stream->synchronize();
  double expected = world().size() * (world().size() + 1) / 2.0;
  for (int time = 1; time < kTimes; ++time) expected *= world().size();
  for (const FlatArray& array : arrays) {
    std::vector<double> values(static_cast<std::size_t>(array.span.count));
    copy_to_host(array.span, values.data());
    for (const double value : values) ASSERT_EQ(value, expected) << array.span.count << " elements";
  }
}

/// What `enqueue` puts on the stream, launched `times` times as a graph.
template <class Enqueue>
void launch_captured(cudaStream_t on, int times, Enqueue enqueue) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t ready = nullptr;
  ASSERT_EQ(cudaStreamBeginCapture(on, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  enqueue();
  ASSERT_EQ(cudaStreamEndCapture(on, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&ready, graph, 0), cudaSuccess);
  for (int time = 0; time < times; ++time) ASSERT_EQ(cudaGraphLaunch(ready, on), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(on), cudaSuccess);
  cudaGraphExecDestroy(ready);
  cudaGraphDestroy(graph);
}

TEST_F(PeerSum, captured_sums_repeat) {
  if (world().size() == 1) GTEST_SKIP() << "one rank adds nothing";
  for (const Variant& variant : variants()) {
    PeerSummer summer(variant.settings);
    const FlatArray small = make_array(summer.site.device, Dtype::f32, 1000);
    const std::vector<FlatSpan> arrays{summer.lent(Dtype::f32, 600'000), small.span};
    const std::vector<float> ones(600'000, 1);
    for (const FlatSpan& each : arrays) copy_from_host(ones.data(), each);
    launch_captured(cuda::native(*summer.stream), 5, [&] {
      for (const FlatSpan& each : arrays) summer.collectives->sum(each, *summer.stream);
    });
    const float expected = std::pow(static_cast<float>(world().size()), 5.0F);
    for (const FlatSpan& each : arrays) {
      std::vector<float> values(static_cast<std::size_t>(each.count));
      copy_to_host(each, values.data());
      for (const float value : values) ASSERT_EQ(value, expected) << variant.name;
    }
  }
}

TEST_F(PeerSum, duplicates_do_not_mix) {
  PeerSummer summer({});
  const auto other = summer.collectives->duplicate();
  const auto stream = make_stream(summer.site.device);
  const FlatArray first = make_array(summer.site.device, Dtype::f32, 5000);
  const FlatArray second = make_array(summer.site.device, Dtype::f32, 5000);
  const std::vector<float> ones(5000, 1), twos(5000, 2);
  copy_from_host(ones.data(), first.span);
  copy_from_host(twos.data(), second.span);
  for (int time = 0; time < 3; ++time) {
    summer.collectives->sum(first.span, *summer.stream);
    other->sum(second.span, *stream);
  }
  summer.stream->synchronize();
  stream->synchronize();
  std::vector<float> a(5000), b(5000);
  copy_to_host(first.span, a.data());
  copy_to_host(second.span, b.data());
  const auto ranks = static_cast<float>(world().size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i], ranks * ranks * ranks);
    ASSERT_EQ(b[i], 2 * ranks * ranks * ranks);
  }
}

}  // namespace
}  // namespace lockstep::comm
