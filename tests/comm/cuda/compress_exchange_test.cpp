// Compressed exchanges of gradients on GPUs keep the promises that they keep on the host, and leave the
// host's bits. With a GPU a rank messages go by NCCL; ranks that share one go through the host.
#include <cmath>

#include "comm/device_transport.h"
#include "tests/comm/compress_rig.h"
#include "tests/comm/cuda/twins.h"
#include "tests/support/mpi_main.h"

namespace lockstep::comm::compress {
namespace {

World& world() { return lockstep::testing::mpi_world(); }

class GpuCompressor : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    std::string why;
    const int gpus = visible_devices(DeviceKind::cuda, why);
    if (gpus == 0) GTEST_SKIP() << why;
    place_.device = {DeviceKind::cuda, world().local_rank() % gpus};
    if (collectives_ == nullptr)
      collectives_ = rig_collectives(world(), place_.device, gpus < world().local_size() ? "mpi" : "auto");
    place_.collectives = collectives_;
  }
  static void TearDownTestSuite() { collectives_ = nullptr; }
  /// Orthogonal columns are irrational; everything else is exact on integers at 1 and 2 ranks.
  [[nodiscard]] static bool exact() { return GetParam() != "powersgd"; }
  Place place_;

 private:
  /// One for all tests: communicators are slow to make.
  static inline std::shared_ptr<Collectives> collectives_;
};
INSTANTIATE_TEST_SUITE_P(Table, GpuCompressor, ::testing::ValuesIn(names()),
                         [](const auto& each) { return each.param; });

TEST_P(GpuCompressor, moves_by_the_mean_gradient_and_owes_the_rest) {
  if (!has_feedback(GetParam())) GTEST_SKIP() << "no error feedback to choose";
  virtual_iterate(world(), GetParam(), exact(), place_);
}

TEST_P(GpuCompressor, all_ranks_hold_the_same_bits_and_sent_what_is_stated) {
  same_bits_and_stated_bytes(world(), GetParam(), true, place_);
  same_bits_and_stated_bytes(world(), GetParam(), false, place_);
}

TEST_P(GpuCompressor, rate_zero_sends_nothing) {
  if (!has_feedback(GetParam())) GTEST_SKIP() << "no error feedback to choose";
  rate_zero_is_silent(world(), GetParam(), place_);
}

TEST_P(GpuCompressor, a_bad_step_leaves_no_trace) { nonfinite_leaves_no_trace(world(), GetParam(), place_); }

TEST_P(GpuCompressor, goes_on_exactly_after_save_and_load) {
  resumes_exactly(world(), GetParam(), true, place_);
  resumes_exactly(world(), GetParam(), false, place_);
}

std::vector<float> copy_of(std::span<const float> values) { return {values.begin(), values.end()}; }

/// Over memory that the ranks map from each other, dense codes write payloads straight into it.
class MappedCompressor : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (world().size() == 1) GTEST_SKIP() << "one rank sends nothing";
    place_.device = {DeviceKind::cuda, world().local_rank() % std::max(1, gpus())};
    if (gpus() == 0) GTEST_SKIP() << "no GPU is visible";
    if (collectives_ == nullptr) collectives_ = rig_collectives(world(), place_.device, "mpi", "peer");
    ASSERT_NE(collectives_->mapped_memory(), nullptr);
    place_.collectives = collectives_;
    place_.schedule = "peer";
  }
  static void TearDownTestSuite() { collectives_ = nullptr; }
  static int gpus() {
    std::string why;
    return visible_devices(DeviceKind::cuda, why);
  }
  Place place_;

 private:
  static inline std::shared_ptr<Collectives> collectives_;
};
INSTANTIATE_TEST_SUITE_P(Table, MappedCompressor,
                         ::testing::Values("bf16", "fp16", "int8", "int4", "natural"),
                         [](const auto& each) { return each.param; });

TEST_P(MappedCompressor, leaves_the_bits_of_messages_between_hosts) {
  RigOptions mapped{.feedback = false, .place = place_};
  Rig host(world(), GetParam(), {.feedback = false}), gpu(world(), GetParam(), mapped);
  for (std::int64_t step = 0; step < 5; ++step) {
    host.step(step, 1);
    gpu.step(step, 1);
    EXPECT_TRUE(same_bits(copy_of(host.sums()), copy_of(gpu.sums()))) << GetParam() << ", step " << step;
  }
}

TEST_P(MappedCompressor, all_ranks_hold_the_same_bits_and_sent_what_is_stated) {
  same_bits_and_stated_bytes(world(), GetParam(), false, place_);
  same_bits_and_stated_bytes(world(), GetParam(), true, place_);
}

TEST_P(MappedCompressor, a_bad_value_is_counted_and_leaves_no_trace) {
  Rig rig(world(), GetParam(), {.feedback = false, .place = place_});
  rig.step(0, 1, world().rank() == 0);
  std::int64_t bad = 0;
  copy_to_host(rig.exchange().nonfinite(), &bad);
  EXPECT_EQ(bad, world().rank() == 0 ? 1 : 0);
  nonfinite_leaves_no_trace(world(), GetParam(), place_);
}

TEST_P(GpuCompressor, leaves_the_hosts_bits) {
  Rig host(world(), GetParam()), gpu(world(), GetParam(), {.place = place_});
  for (std::int64_t step = 0; step < 3; ++step) {
    host.step(step, 0.3f);
    gpu.step(step, 0.3f);
    const auto expected = copy_of(host.sums()), seen = copy_of(gpu.sums());
    if (exact()) {
      EXPECT_TRUE(same_bits(expected, seen)) << GetParam() << ", step " << step;
      continue;
    }
    double error = 0, size = 0;
    for (std::size_t i = 0; i < seen.size(); ++i) {
      error += std::pow(static_cast<double>(seen[i]) - static_cast<double>(expected[i]), 2);
      size += std::pow(static_cast<double>(expected[i]), 2);
    }
    EXPECT_LT(std::sqrt(error), 1e-3 * std::sqrt(size)) << GetParam() << ", step " << step;
  }
}

TEST_P(GpuCompressor, hands_its_memory_to_the_host) {
  Rig gpu(world(), GetParam(), {.place = place_}), host(world(), GetParam());
  for (std::int64_t step = 0; step < 2; ++step) gpu.step(step, 1);
  const StateMap saved = gpu.state();
  ASSERT_TRUE(host.exchange().load(StateReader(saved)));
  const StateMap kept = host.state();
  ASSERT_EQ(kept.entries.size(), saved.entries.size());
  for (const auto& [key, entry] : saved.entries) EXPECT_EQ(kept.entries.at(key).bytes, entry.bytes) << key;
}

TEST_P(GpuCompressor, samples_see_what_the_hosts_see) {
  Rig host(world(), GetParam(), {.sample_every = 1});
  Rig gpu(world(), GetParam(), {.place = place_, .sample_every = 1});
  host.step(0, 1);
  gpu.step(0, 1);
  const auto expected = host.report().compressed, seen = gpu.report().compressed;
  ASSERT_EQ(seen.size(), expected.size());
  for (std::size_t i = 0; i < seen.size(); ++i) {
    ASSERT_NE(seen[i].sample, nullptr);
    EXPECT_EQ(seen[i].compressor, expected[i].compressor);
    EXPECT_NEAR(seen[i].sample->relative_error, expected[i].sample->relative_error, 1e-4);
    EXPECT_NEAR(seen[i].sample->cosine, expected[i].sample->cosine, 1e-4);
    EXPECT_NEAR(seen[i].sample->residual_norm, expected[i].sample->residual_norm,
                1e-3 * expected[i].sample->residual_norm);
  }
}

}  // namespace
}  // namespace lockstep::comm::compress
