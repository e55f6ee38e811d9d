// A rank that stops, sleeps or dies while GPUs wait for it in a kernel ends the job in time, and is named.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/comm/endings.h"

namespace {

using lockstep::testing::Ending;

constexpr double kSeconds = 30;  // far below the guard of 60 s, far above the 3 s of the deadline

class PeerJobEnd : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    int gpus = 0;
    if (cudaGetDeviceCount(&gpus) != cudaSuccess || gpus == 0) GTEST_SKIP() << "no GPU is visible";
  }
  static Ending run(const std::string& how) {
    return lockstep::testing::run_ranks(LOCKSTEP_ENDING_RANKS, 2, how + " 3 " + GetParam());
  }
};

TEST_P(PeerJobEnd, healthy_ranks_end_with_zero) {
  const Ending ending = run("no");
  EXPECT_EQ(ending.exit_code, 0) << ending.output;
  EXPECT_TRUE(ending.says("all steps done")) << ending.output;
}

TEST_P(PeerJobEnd, stopped_rank_is_named_as_not_answering) {
  const Ending ending = run("stop");
  EXPECT_EQ(ending.exit_code, 4) << ending.output;
  EXPECT_LT(ending.seconds, kSeconds);
  EXPECT_TRUE(ending.says("peer all-reduce (sequence 6, bucket 0, ")) << ending.output;
  EXPECT_TRUE(ending.says(" bytes) waited 3.")) << ending.output;
  EXPECT_TRUE(ending.says("for rank 1: rank 1 did not answer")) << ending.output;
}

TEST_P(PeerJobEnd, late_rank_is_named_with_its_place) {
  const Ending ending = run("late");
  EXPECT_EQ(ending.exit_code, 4) << ending.output;
  EXPECT_LT(ending.seconds, kSeconds);
  EXPECT_TRUE(ending.says("rank 1 has not come on from sequence 5 in peer all-reduce")) << ending.output;
}

TEST_P(PeerJobEnd, killed_rank_ends_the_job) {
  const Ending ending = run("kill");
  EXPECT_EQ(ending.exit_code, 137) << ending.output;
  EXPECT_LT(ending.seconds, kSeconds);
  EXPECT_TRUE(ending.says("rank 1")) << ending.output;  // by mpirun, which sees it first
}

INSTANTIATE_TEST_SUITE_P(elements, PeerJobEnd, ::testing::Values("1000", "1000000"));

}  // namespace
