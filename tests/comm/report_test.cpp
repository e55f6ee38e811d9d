// The sentence that an expired deadline becomes.
#include "comm/transport/report.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <cstdlib>
#include <map>
#include <string>
#include <thread>

#include "comm/transport/launcher.h"
#include "comm/transport/patience.h"
#include "comm/transport/processors.h"

namespace lockstep::comm {
namespace {

const Operation kMine{.name = "ring all-reduce", .sequence = 12, .bucket = 3, .bytes = 4096};

Position at(std::string_view name, std::int64_t sequence, bool inside) {
  return position_in({.name = name, .sequence = sequence}, inside);
}

TEST(Report, silent_rank_is_named) {
  const Expired expired{
      0, kMine, 30, {3}, {{}, at("ring all-reduce", 12, true), {}, at("ring all-reduce", 12, true)}};
  EXPECT_EQ(missing_ranks(expired), std::vector<int>{2});
  EXPECT_STREQ(DeadlineExpired(expired).what(),
               "ring all-reduce (sequence 12, bucket 3, 4096 bytes) waited 30.0 s on rank 0 for rank 2: rank "
               "2 did not "
               "answer");
}

TEST(Report, rank_behind_is_told_with_its_place) {
  const Expired expired{0, kMine, 1.5, {1}, {{}, at("broadcast", 10, true), at("gather", 11, false)}};
  EXPECT_EQ(missing_ranks(expired), (std::vector<int>{1, 2}));
  const std::string what = DeadlineExpired(expired).what();
  EXPECT_NE(
      what.find("for ranks 1 and 2: rank 1 is still at sequence 10 in broadcast; rank 2 has not come on from "
                "sequence 11 in gather"),
      std::string::npos)
      << what;
}

TEST(Report, rank_that_began_nothing_is_told) {
  const Expired expired{0, kMine, 1, {1}, {{}, Position{}}};
  EXPECT_NE(std::string(DeadlineExpired(expired).what()).find("rank 1 has not begun any operation"),
            std::string::npos);
}

TEST(Report, other_operation_at_the_same_sequence_changes_the_cure) {
  const Expired expired{0, kMine, 1, {1}, {{}, at("barrier", 12, true)}};
  const DeadlineExpired error(expired);
  EXPECT_NE(std::string(error.what()).find("calls another operation at this sequence: barrier"),
            std::string::npos);
  EXPECT_NE(error.hint().find("same order"), std::string::npos);
}

TEST(Report, when_all_are_there_the_peers_waited_for_are_named) {
  const Expired expired{
      0, kMine, 1, {2}, {{}, at("ring all-reduce", 12, true), at("ring all-reduce", 12, true)}};
  EXPECT_EQ(missing_ranks(expired), std::vector<int>{2});
  EXPECT_NE(std::string(DeadlineExpired(expired).what()).find("rank 2 is in the same operation"),
            std::string::npos);
}

TEST(Report, rank_ahead_is_not_blamed) {
  const Expired expired{1, kMine, 1, {0}, {{}, {}, at("barrier", 13, true)}};
  EXPECT_EQ(missing_ranks(expired), std::vector<int>{0});
}

TEST(Report, long_names_are_cut_not_overrun) {
  const std::string name(200, 'n');
  EXPECT_EQ(std::string(position_in({.name = name}, true).name.data()), name.substr(0, 47));
}

TEST(RankList, reads_as_a_sentence) {
  EXPECT_EQ(rank_list({}), "no rank");
  EXPECT_EQ(rank_list({4}), "rank 4");
  EXPECT_EQ(rank_list({4, 5}), "ranks 4 and 5");
  EXPECT_EQ(rank_list({0, 1, 2, 3, 4, 5, 6, 7}), "ranks 0, 1, 2, 3, 4, 5, 6 and 7");
  EXPECT_EQ(rank_list({0, 1, 2, 3, 4, 5, 6, 7, 8, 9}), "ranks 0, 1, 2, 3, 4, 5, 6, 7 and 2 more");
}

auto environment(std::map<std::string, const char*> values) {
  return [values = std::move(values)](const char* name) -> const char* {
    const auto found = values.find(name);
    return found == values.end() ? nullptr : found->second;
  };
}

TEST(Launcher, singletons_under_srun_are_refused) {
  EXPECT_THROW(check_launcher(1, environment({{"SLURM_NTASKS", "4"}})), Error);
  EXPECT_THROW(check_launcher(1, environment({{"SLURM_NTASKS", "4"}, {"SLURM_STEP_NUM_TASKS", "2"}})), Error);
}

TEST(Launcher, matching_counts_pass) {
  EXPECT_NO_THROW(check_launcher(1, environment({})));
  EXPECT_NO_THROW(check_launcher(4, environment({{"SLURM_NTASKS", "4"}})));
  EXPECT_NO_THROW(check_launcher(1, environment({{"SLURM_NTASKS", "4"}, {"SLURM_STEP_NUM_TASKS", "1"}})));
  EXPECT_NO_THROW(check_launcher(2, environment({{"SLURM_NTASKS", "4"}, {"OMPI_COMM_WORLD_SIZE", "2"}})));
}

TEST(Launcher, tells_the_rank_before_mpi_starts) {
  EXPECT_EQ(launched_rank(environment({})), 0);
  EXPECT_EQ(launched_rank(environment({{"OMPI_COMM_WORLD_RANK", "2"}, {"SLURM_PROCID", "0"}})), 2);
  EXPECT_EQ(launched_rank(environment({{"PMI_RANK", "3"}})), 3);
  EXPECT_EQ(launched_rank(environment({{"SLURM_PROCID", "5"}})), 5);
}

TEST(Processors, are_those_that_a_thread_was_left) {
  const int before = count(own_processors());
  EXPECT_GE(before, 1);
  int alone = 0;
  std::thread([&] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    alone = count(own_processors());
  }).join();
  EXPECT_EQ(alone, 1);
  EXPECT_EQ(count(own_processors()), before);
  EXPECT_EQ(count(ProcessorSet{0b101, 1}), 3);
}

TEST(Patience, long_wait_sleeps_instead_of_spinning) {
  Patience patience;
  const auto begin = std::chrono::steady_clock::now();
  int pauses = 0;
  while (std::chrono::steady_clock::now() - begin < std::chrono::milliseconds(50)) {
    patience.pause();
    ++pauses;
  }
  patience.renew();
  EXPECT_LT(pauses, 20'000) << "spinning for 50 ms would take far more";
  EXPECT_GT(pauses, 10);
}

}  // namespace
}  // namespace lockstep::comm
