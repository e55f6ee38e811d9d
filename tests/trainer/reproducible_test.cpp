// The same bits at 1, 2, 4 and 8 ranks and for any bucket size; and what must not give them.
#include <gtest/gtest.h>

#include <cmath>

#include "comm/allreduce/schedule.h"
#include "tests/trainer/tiny_run.h"

namespace lockstep::trainer {
namespace {

class Reproducible : public testing::TestWithParam<const char*> {
 protected:
  [[nodiscard]] std::string kind() const { return std::string(GetParam()) == "gpt2" ? "tokens" : "images"; }
  [[nodiscard]] Overrides settings() const {
    Overrides all{"train.reproducible=true"};
    if (std::string(GetParam()) == "mlp") all.insert(all.end(), {"model.name=mlp", "model.mlp.hidden=[8]"});
    return all;
  }
};

TEST_P(Reproducible, ranks_1_2_4_8_train_the_same_bits) {
  const Hashes alone = train_once(kind(), settings(), 1);
  EXPECT_EQ(train_once(kind(), settings(), 2), alone);
  EXPECT_EQ(train_once(kind(), settings(), 4), alone);
  EXPECT_EQ(train_once(kind(), settings(), 8), alone);
}

TEST_P(Reproducible, every_schedule_of_the_balanced_tree_trains_the_same_bits) {
  const Hashes alone = train_once(kind(), settings(), 1);
  for (const auto& row : comm::schedules().rows()) {
    const auto schedule = comm::schedules().create(row.name, Options::of(row.settings));
    if (!schedule->layout_invariant()) continue;
    Overrides chosen = settings();
    chosen.push_back("allreduce.name=" + std::string(row.name));
    EXPECT_EQ(train_once(kind(), chosen, 4), alone) << row.name;
  }
}

TEST_P(Reproducible, bucket_size_and_overlap_change_no_bit) {
  Overrides small = settings();
  small.insert(small.end(), {"exchange.bucket_mib=0.0001", "exchange.first_bucket_mib=0.0001"});
  Overrides late = settings();
  late.emplace_back("exchange.overlap=false");
  const Hashes whole = train_once(kind(), settings(), 2);
  EXPECT_EQ(train_once(kind(), small, 2), whole);
  EXPECT_EQ(train_once(kind(), late, 2), whole);
}

TEST_P(Reproducible, three_ranks_with_ragged_microbatches_agree_to_rounding) {
  const Hashes alone = train_once(kind(), settings(), 1);
  const Hashes three = train_once(kind(), settings(), 3);
  EXPECT_NEAR(three.loss, alone.loss, 1e-4f * std::abs(alone.loss));
}

// Negative control: what reproducible mode replaces (sums in order of arrival at a rank, a ring between
// ranks) changes bits.
TEST_P(Reproducible, ring_without_the_mode_differs_between_rank_counts) {
  Overrides ring = settings();
  ring[0] = "allreduce.name=ring";
  const Hashes alone = train_once(kind(), ring, 1);
  const Hashes four = train_once(kind(), ring, 4);
  EXPECT_NE(four.parameters, alone.parameters);
  EXPECT_NEAR(four.loss, alone.loss, 1e-3f * std::abs(alone.loss));
}

INSTANTIATE_TEST_SUITE_P(Models, Reproducible, testing::Values("mlp", "cnn", "gpt2"),
                         [](const auto& each) { return std::string(each.param); });

TEST(ReproducibleRefusals, each_is_named) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  const auto refusal = [&](const std::string& setting) -> std::string {
    const Config config = tiny_config(scratch.path(), "images", {"train.reproducible=true", setting});
    try {
      static_cast<void>(run_tiny(config, 1, {.run_directory = scratch.path()}));
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::config);
      return error.what();
    }
    return "accepted";
  };
  EXPECT_NE(refusal("allreduce.name=ring").find("ring"), std::string::npos);
  EXPECT_NE(refusal("allreduce.name=library").find("library"), std::string::npos);
  EXPECT_NE(refusal("device.reference.threads=2").find("thread"), std::string::npos);
  EXPECT_NE(refusal("batch.microbatch=0").find("microbatch"), std::string::npos);
  EXPECT_EQ(refusal("allreduce.name=recursive_doubling"), "accepted");
}

}  // namespace
}  // namespace lockstep::trainer
