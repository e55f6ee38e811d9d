// A rank that dies, stops, leaves or fails ends the whole MPI job within seconds, and somebody says which
// rank it was.
#include <gtest/gtest.h>

#include <string>

#include "tests/comm/endings.h"

namespace {

using lockstep::testing::Ending;

Ending run(int ranks, const std::string& how, const std::string& deadline_s) {
  return lockstep::testing::run_ranks(LOCKSTEP_ENDING_RANKS, ranks, how + " " + deadline_s);
}

constexpr double kSeconds =
    40;  // far below the guard and the deadlines of 60 s, far above the 2 s it takes, for busy machines

TEST(JobEnd, healthy_ranks_end_with_zero) {
  const Ending ending = run(3, "no", "60");
  EXPECT_EQ(ending.exit_code, 0) << ending.output;
  EXPECT_TRUE(ending.says("all steps done")) << ending.output;
}

TEST(JobEnd, killed_rank_ends_the_job_and_is_named) {
  const Ending ending = run(3, "kill", "60");
  EXPECT_EQ(ending.exit_code, 137) << ending.output;
  EXPECT_LT(ending.seconds, kSeconds);
  EXPECT_TRUE(ending.says("rank 2")) << ending.output;  // by mpirun, which sees it first
}

TEST(JobEnd, rank_that_exits_silently_ends_the_job_and_is_named) {
  const Ending ending = run(3, "exit", "60");
  EXPECT_NE(ending.exit_code, 0) << ending.output;
  EXPECT_LT(ending.seconds, kSeconds);
  EXPECT_TRUE(ending.says("rank 2")) << ending.output;
}

TEST(JobEnd, stopped_rank_is_named_once_as_not_answering) {
  const Ending ending = run(3, "stop", "3");
  EXPECT_EQ(ending.exit_code, 4) << ending.output;
  EXPECT_LT(ending.seconds, kSeconds);
  EXPECT_TRUE(ending.says("ring all-reduce (sequence 6, bucket 0, 400000 bytes) waited 3.")) << ending.output;
  EXPECT_TRUE(ending.says("for rank 2: rank 2 did not answer")) << ending.output;
  EXPECT_EQ(ending.count("communication error"), 1) << ending.output;
}

TEST(JobEnd, late_rank_is_named_with_its_place) {
  for (const int ranks : {2, 4}) {
    const Ending ending = run(ranks, "late", "3");
    const std::string last = std::to_string(ranks - 1);
    EXPECT_EQ(ending.exit_code, 4) << ending.output;
    EXPECT_LT(ending.seconds, kSeconds);
    EXPECT_TRUE(ending.says("for rank " + last + ": rank " + last +
                            " has not come on from sequence 5 in ring all-reduce"))
        << ending.output;
    EXPECT_EQ(ending.count("communication error"), 1) << ending.output;
  }
}

TEST(JobEnd, rank_that_never_comes_to_the_end_does_not_hold_the_others) {
  const Ending ending = run(2, "linger", "3");
  EXPECT_NE(ending.exit_code, 0) << ending.output;
  EXPECT_LT(ending.seconds, kSeconds);
  EXPECT_TRUE(ending.says("rank 1: not all ranks came to the end within 3 s")) << ending.output;
}

TEST(JobEnd, lone_rank_ends_with_its_code_and_no_banner) {
  const Ending ending = run(1, "throw", "60");
  EXPECT_EQ(ending.exit_code, 3) << ending.output;
  EXPECT_FALSE(ending.says("MPI_ABORT")) << ending.output;
}

TEST(JobEnd, rank_that_throws_ends_the_job_with_its_message_and_code) {
  const Ending ending = run(3, "throw", "60");
  EXPECT_EQ(ending.exit_code, 3) << ending.output;
  EXPECT_LT(ending.seconds, kSeconds);
  EXPECT_TRUE(ending.says("rank 2: data error: label 12 is out of range; use 12 classes")) << ending.output;
  EXPECT_EQ(ending.count("error:"), 1) << ending.output;
}

}  // namespace
