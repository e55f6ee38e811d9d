// model.recompute: the same parameters, bit for bit, from less memory; statistics of batch norms count once.
#include <gtest/gtest.h>

#include "tests/trainer/tiny_run.h"

namespace lockstep::trainer {
namespace {

struct Kind {
  const char* name;
  const char* data;
  Overrides settings;
};

Hashes train_once(const Kind& kind, const Overrides& more, int ranks) {
  Overrides settings = kind.settings;
  settings.insert(settings.end(), more.begin(), more.end());
  return trainer::train_once(kind.data, settings, ranks);
}

class RecomputedTraining : public testing::TestWithParam<Kind> {};
INSTANTIATE_TEST_SUITE_P(
    Kinds, RecomputedTraining,
    testing::Values(Kind{"mlp",
                         "images",
                         {"model.name=mlp", "model.mlp.hidden=[24,24,24,24,24,24]", "model.mlp.dropout=0.2"}},
                    Kind{"cnn", "images", {"model.cnn.channels=[3,4]", "model.cnn.convolutions=4"}},
                    Kind{"synchronised",
                         "images",
                         {"model.cnn.channels=[3,4]", "model.cnn.convolutions=4",
                          "model.cnn.synchronised_norm=true"}},
                    Kind{"gpt2", "tokens", {"model.gpt2.layers=6"}}),
    [](const auto& each) { return std::string(each.param.name); });

TEST_P(RecomputedTraining, has_the_bits_of_training_that_keeps_all) {
  const Hashes kept = train_once(GetParam(), {}, 2);
  EXPECT_EQ(train_once(GetParam(), {"model.recompute=blocks"}, 2), kept);
  EXPECT_NE(train_once(GetParam(), {"model.recompute=blocks", "run.seed=2"}, 2), kept);
}

TEST_P(RecomputedTraining, has_them_in_reproducible_mode_at_other_rank_counts) {
  if (std::string(GetParam().name) == "synchronised") return;
  const Overrides repeated{"train.reproducible=true", "model.recompute=blocks"};
  const Hashes kept = train_once(GetParam(), {"train.reproducible=true"}, 1);
  EXPECT_EQ(train_once(GetParam(), repeated, 1), kept);
  EXPECT_EQ(train_once(GetParam(), repeated, 4), kept);
}

/// The line of `plan` that begins with `name`.
std::string line_of(const std::string& plan, const std::string& name) {
  const auto begin = plan.find("\n" + name);
  return begin == std::string::npos ? "" : plan.substr(begin + 1, plan.find('\n', begin + 1) - begin - 1);
}

TEST_P(RecomputedTraining, shows_its_memory_in_the_plan) {
  const ScratchDirectory scratch;
  write_tiny_images(scratch.path() + "/images.h5");
  write_tiny_tokens(scratch.path() + "/tokens.h5");
  Overrides settings = GetParam().settings;
  const std::string kept = describe_plan(tiny_config(scratch.path(), GetParam().data, settings), 2, false);
  settings.emplace_back("model.recompute=blocks");
  const std::string repeated =
      describe_plan(tiny_config(scratch.path(), GetParam().data, settings), 2, false);
  EXPECT_EQ(line_of(kept, "recomputed"), "");
  EXPECT_NE(line_of(repeated, "recomputed"), "");
  EXPECT_NE(line_of(kept, "  activations"), line_of(repeated, "  activations"));
}

}  // namespace
}  // namespace lockstep::trainer
