// Reproducible mode with real ranks and the backend people train on: the same bits from any number of ranks.
#include <cmath>

#include "tests/programs/program_test.h"

namespace lockstep::programs {
namespace {

struct Subject {
  const char* name;
  const char* model;  ///< "gpt2" or a mapping
};
void PrintTo(const Subject& subject, std::ostream* out) { *out << subject.name; }

class ReproducibleRanks : public ProgramTest, public testing::WithParamInterface<Subject> {
 protected:
  ReproducibleRanks() {
    if (std::string(GetParam().model) == "gpt2") {
      write_gpt("c.yaml");
    } else {
      write_images("c.yaml", GetParam().model);
    }
  }
  /// The summary of a run with microbatches of 2, 8 a step.
  Json train(int ranks, const std::string& more) const {
    const std::string directory = file("run" + std::to_string(ranks) + std::to_string(runs_++));
    run("$MPI -n " + std::to_string(ranks) + " $L train " + file("c.yaml") +
        " --set batch.microbatch=2 --set train.steps=5 --run-dir " + directory + " " + more);
    return json_of(directory + "/summary.json");
  }
  Json reproducible(int ranks, const std::string& more = "") const {
    return train(ranks, "--set train.reproducible=true " + more);
  }

 private:
  mutable int runs_ = 0;
};

void expect_same_bits(const Json& actual, const Json& expected) {
  for (const char* key : {"parameter_hash", "state_hash", "final_train_loss"})
    EXPECT_EQ(actual.at(key), expected.at(key)) << key << " at " << actual.at("ranks") << " ranks";
}

TEST_P(ReproducibleRanks, one_two_and_four_ranks_train_the_same_bits) {
  const Json alone = reproducible(1);
  expect_same_bits(reproducible(2), alone);
  expect_same_bits(reproducible(4), alone);
}

TEST_P(ReproducibleRanks, small_buckets_and_no_overlap_change_no_bit) {
  const Json alone = reproducible(1);
  const char* kSmall = "--set exchange.bucket_mib=0.001 --set exchange.first_bucket_mib=0.0005";
  expect_same_bits(reproducible(2, kSmall), alone);
  expect_same_bits(reproducible(4, std::string(kSmall) + " --set exchange.overlap=false"), alone);
}

TEST_P(ReproducibleRanks, three_ranks_agree_to_rounding) {
  // 8 microbatches do not divide by 3: the tree is cut elsewhere.
  const double alone = reproducible(1).at("final_train_loss");
  EXPECT_NEAR(reproducible(3, "--set batch.global=16").at("final_train_loss").get<double>(), alone,
              1e-4 * std::abs(alone));
}

// Negative control: a ring sums in another order for each number of ranks.
TEST_P(ReproducibleRanks, ring_without_the_mode_changes_bits_but_not_the_result) {
  const Json alone = train(1, "--set allreduce.name=ring");
  const Json four = train(4, "--set allreduce.name=ring");
  EXPECT_NE(four.at("parameter_hash"), alone.at("parameter_hash"));
  const double loss = alone.at("final_train_loss");
  EXPECT_NEAR(four.at("final_train_loss").get<double>(), loss, 1e-3 * std::abs(loss));
}

TEST_P(ReproducibleRanks, another_seed_trains_other_bits) {
  EXPECT_NE(reproducible(2, "--set run.seed=2").at("parameter_hash"), reproducible(2).at("parameter_hash"));
}

INSTANTIATE_TEST_SUITE_P(Models, ReproducibleRanks,
                         testing::Values(Subject{"mlp", "{name: mlp, mlp: {hidden: [8], dropout: 0.2}}"},
                                         Subject{"cnn", "{name: cnn, cnn: {channels: [4], dropout: 0.25}}"},
                                         Subject{"gpt2", "gpt2"}),
                         [](const auto& each) { return std::string(each.param.name); });

}  // namespace
}  // namespace lockstep::programs
