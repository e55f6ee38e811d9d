// Bad numbers and replicas that differ, at many ranks: the rank, the step and the samples that are named are
// the true ones, and no others.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "comm/allreduce/schedule.h"
#include "comm/collectives.h"
#include "comm/worlds.h"
#include "core/error.h"
#include "core/hash.h"
#include "data/hdf5_file.h"
#include "tests/trainer/tiny_run.h"
#include "trainer/diagnose.h"

namespace lockstep::trainer {
namespace {

/// Trains on images of which some hold a NaN, in the stored order; what it says when it stops.
std::string told(const std::vector<int>& poisoned, int ranks, const Overrides& more = {}) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  {
    auto file = data::Hdf5File::edit(scratch.path() + "/images.h5");
    std::vector<float> image(36, std::numeric_limits<float>::quiet_NaN());
    for (const int index : poisoned)
      file.dataset("/train/image").write_rows(index, 1, flat(std::span(image)));
    file.flush();
  }
  Overrides overrides{"data.shuffle=false"};
  overrides.insert(overrides.end(), more.begin(), more.end());
  try {
    static_cast<void>(
        run_tiny(tiny_config(scratch.path(), "images", overrides), ranks, {.run_directory = scratch.path()}));
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::diverged);
    return error.what();
  }
  return "trained to the end";
}

/// The ranks that a message blames.
std::vector<int> blamed(const std::string& message, int ranks) {
  std::vector<int> all;
  for (int rank = 0; rank < ranks; ++rank)
    if (message.find("rank " + std::to_string(rank) + ":") != std::string::npos) all.push_back(rank);
  return all;
}

/// Eight microbatches of two samples a step, dealt in runs as equal as can be, longer ones first.
int owner(int sample, int ranks) {
  const int microbatch = sample % 16 / 2;
  for (int rank = 0, first = 0;; ++rank) {
    first += 8 / ranks + (rank < 8 % ranks ? 1 : 0);
    if (microbatch < first) return rank;
  }
}

TEST(Culprit, is_the_rank_that_had_the_sample_at_any_number_of_ranks) {
  for (const int ranks : {1, 2, 3, 4, 5, 8}) {
    for (const int sample : {0, 5, 13, 15}) {
      const std::string what = told({sample}, ranks);
      EXPECT_EQ(blamed(what, ranks), std::vector<int>{owner(sample, ranks)}) << what;
      const int first = sample / 2 * 2;
      const std::string pair = "samples " + std::to_string(first) + ", " + std::to_string(first + 1);
      EXPECT_NE(what.find(pair), std::string::npos) << what;
      EXPECT_NE(what.find("step 0 is not finite"), std::string::npos) << what;
      EXPECT_NE(what.find("in slot 'stage1."), std::string::npos) << what;
    }
  }
}

TEST(Culprit, of_a_later_step_is_named_with_that_step) {
  for (const int ranks : {2, 3, 4}) {
    const int sample = 3 * 16 + 9;  // the fourth step, its fifth microbatch
    const std::string what = told({sample}, ranks);
    EXPECT_NE(what.find("step 3 is not finite"), std::string::npos) << what;
    EXPECT_EQ(blamed(what, ranks), std::vector<int>{owner(sample, ranks)}) << what;
    EXPECT_NE(what.find("samples 56, 57"), std::string::npos) << what;
  }
}

TEST(Culprit, several_are_all_named_in_rank_order) {
  // Microbatches 0, 3 and 7.
  EXPECT_EQ(blamed(told({0, 6, 15}, 4), 4), (std::vector<int>{0, 1, 3}));
  EXPECT_EQ(blamed(told({0, 6, 15}, 3), 3), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(blamed(told({14, 12}, 8), 8), (std::vector<int>{6, 7}));
}

TEST(Culprit, samples_beyond_the_first_eight_are_not_listed) {
  const std::string what = told({17}, 1, {"batch.global=32", "batch.microbatch=16"});
  EXPECT_NE(what.find("samples 16, 17, 18, 19, 20, 21, 22, 23, ..."), std::string::npos) << what;
}

TEST(Culprit, clean_samples_train_to_the_end) {  // negative control
  for (const int ranks : {1, 3}) EXPECT_EQ(told({}, ranks), "trained to the end");
  EXPECT_EQ(told({95}, 3, {"train.steps=5"}), "trained to the end") << "sample 95 is in the sixth step";
}

/// What a check of replicas says when the ranks of `astray` hold one value that differs in its last bit.
std::string compared(int ranks, const std::vector<int>& astray, std::uint64_t* hash = nullptr) {
  try {
    comm::run_ranks_as_threads(ranks, [&](comm::World& world) {
      ParameterStore store(SlotLayout({{"weight", Shape{7, 13}}, {"bias", Shape{13}}}), SlotLayout(),
                           Device{});
      std::vector<float> values(91, 0.5F);
      for (const int rank : astray)
        if (rank == world.rank()) values[90] = std::nextafter(0.5F, 1.0F);
      store.write("weight", values);
      if (hash != nullptr && world.rank() == ranks - 1) *hash = store.parameter_hash();
      comm::Control control(comm::make_collectives(world.transport(30), comm::schedule_called("ring")));
      check_replicas_agree(store, 41, control);
    });
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::communication);
    EXPECT_FALSE(error.hint().empty());
    return error.what();
  }
  return "agreed";
}

TEST(Replicas, that_differ_in_one_bit_are_named_with_step_and_hash) {
  for (const int ranks : {2, 3, 5}) {
    std::uint64_t hash = 0;
    const std::string what = compared(ranks, {ranks - 1}, &hash);
    EXPECT_NE(what.find("rank " + std::to_string(ranks - 1) + " holds other parameters (" + hash_text(hash) +
                        ") than rank 0"),
              std::string::npos)
        << what;
    EXPECT_NE(what.find("at step 41"), std::string::npos) << what;
  }
  EXPECT_NE(compared(4, {2, 3}).find("rank 2 holds"), std::string::npos) << "the first of them";
  EXPECT_NE(compared(3, {0}).find("rank 1 holds"), std::string::npos) << "rank 0 is the measure";
}

TEST(Replicas, that_are_equal_agree) {
  EXPECT_EQ(compared(1, {}), "agreed");
  EXPECT_EQ(compared(4, {}), "agreed");
  EXPECT_EQ(compared(3, {0, 1, 2}), "agreed") << "all changed alike";
}

}  // namespace
}  // namespace lockstep::trainer
