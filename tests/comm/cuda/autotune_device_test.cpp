// `allreduce.name: auto` between GPUs: something is chosen, all ranks agree, and it sums.
#include "comm/autotune/autotune.h"

#include <filesystem>
#include <iostream>

#include "core/backends.h"
#include "tests/comm/cuda/device_sums.h"

namespace lockstep::comm {
namespace {

class DeviceAutotune : public ::testing::Test {
 protected:
  void SetUp() override {
    if (gpus() == 0) GTEST_SKIP() << "no GPU is visible";
    if (world().size() == 1) GTEST_SKIP() << "one rank has nothing to choose";
    task_.device = {DeviceKind::cuda, world().local_rank() % gpus()};
    task_.device_model = backend_of(task_.device).model(task_.device);
    if (gpus() < world().local_size()) task_.transport = "mpi";  // NCCL needs a GPU a rank
  }

  TuneTask task_{.total_bytes = 64 << 20, .backward_s = 5e-3};
};

TEST_F(DeviceAutotune, ranks_agree_on_a_pick_that_was_measured_and_sums_exactly) {
  const Choice choice = autotune(world(), task_);
  if (world().rank() == 0) std::cout << task_.device_model << ": " << report_of(choice) << "\n";
  const TuneRow& pick = choice.rows.front();
  EXPECT_EQ(choice.schedule, pick.schedule);
  EXPECT_GT(pick.predicted_sum_s, 0);
  EXPECT_GT(pick.measured_sum_s, 0);
  EXPECT_GE(pick.step_s, task_.backward_s);
  Control control(make_collectives(world().transport(60), schedule_called("recursive_doubling")));
  for (const std::string& each : control.gather(text_of(choice))) EXPECT_EQ(each, text_of(choice));

  const auto [name, settings] = part_called(transports(), task_.transport);
  const std::shared_ptr<const Schedule> schedule = schedule_called(choice.schedule);
  const auto collectives =
      make_collectives(connect(name, settings, *schedule, world(), {task_.device, 60}), schedule);
  const auto stream = make_stream(task_.device);
  const FlatArray array = make_array(task_.device, Dtype::f32, choice.bucket_bytes / 4);
  std::vector<float> values(static_cast<std::size_t>(array.span.count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = small_integer<float>(i, world().rank());
  copy_from_host(values.data(), array.span);
  collectives->sum(array.span, *stream);
  stream->synchronize();
  copy_to_host(array.span, values.data());
  for (std::size_t i = 0; i < values.size(); ++i) {
    float expected = 0;
    for (int rank = 0; rank < world().size(); ++rank) expected += small_integer<float>(i, rank);
    ASSERT_EQ(values[i], expected) << choice.schedule << ", element " << i;
  }
}

TEST_F(DeviceAutotune, halves_are_measured_as_halves_and_the_cache_answers_for_the_same_devices_only) {
  const std::string directory = ::testing::TempDir() + "/lockstep-device-autotune";
  if (world().rank() == 0) std::filesystem::remove_all(directory);
  task_.dtype = Dtype::bf16;
  task_.schedule = "halving_doubling";
  task_.bucket_bytes = 8 << 20;
  task_.cache_directory = directory;
  EXPECT_FALSE(autotune(world(), task_).from_cache);
  EXPECT_TRUE(autotune(world(), task_).from_cache);
  task_.device_model = "another GPU";
  EXPECT_FALSE(autotune(world(), task_).from_cache);
  if (world().rank() == 0) std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace lockstep::comm
