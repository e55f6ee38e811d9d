// What every compressor of the table promises, on ranks that are threads. A new row is tested by being there.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <set>

#include "comm/compress/rules.h"
#include "comm/worlds.h"
#include "core/error.h"
#include "tests/comm/compress_rig.h"
#include "tests/support/rank_counts.h"
#include "tests/support/refusal.h"

namespace lockstep::comm::compress {
namespace {

class EveryCompressor : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Table, EveryCompressor, testing::ValuesIn(names()),
                         [](const auto& each) { return each.param; });

/// Those with error feedback by the base class.
class EveryFeedback : public testing::TestWithParam<std::string> {};
std::vector<std::string> feedback_names() {
  std::vector<std::string> chosen = names();
  std::erase_if(chosen, [](const std::string& name) { return !has_feedback(name); });
  return chosen;
}
INSTANTIATE_TEST_SUITE_P(Table, EveryFeedback, testing::ValuesIn(feedback_names()),
                         [](const auto& each) { return each.param; });

/// Orthogonal columns are irrational; everything else is exact on integers at a power of two of ranks.
bool exact(const std::string& name, int ranks) { return name != "powersgd" && (ranks & (ranks - 1)) == 0; }

TEST_P(EveryFeedback, moves_by_the_mean_gradient_and_owes_the_rest) {
  for (int ranks : rank_counts({1, 2, 3, 4, 5, 6, 7, 8, 16})) {
    run_ranks_as_threads(ranks,
                         [&](World& world) { virtual_iterate(world, GetParam(), exact(GetParam(), ranks)); });
  }
}

TEST_P(EveryCompressor, all_ranks_hold_the_same_bits_and_sent_what_is_stated) {
  for (int ranks : rank_counts({1, 2, 3, 4, 5, 6, 7, 8, 16})) {
    run_ranks_as_threads(
        ranks, [&](World& world) { same_bits_and_stated_bytes(world, GetParam(), ranks % 2 == 0); });
  }
}

TEST_P(EveryFeedback, rate_zero_sends_nothing) {
  for (int ranks : {1, 3})
    run_ranks_as_threads(ranks, [&](World& world) { rate_zero_is_silent(world, GetParam()); });
}

TEST_P(EveryCompressor, a_bad_step_leaves_no_trace) {
  for (int ranks : {1, 2, 3})
    run_ranks_as_threads(ranks, [&](World& world) { nonfinite_leaves_no_trace(world, GetParam()); });
}

TEST_P(EveryCompressor, goes_on_exactly_after_save_and_load) {
  for (int ranks : {1, 2, 3}) {
    run_ranks_as_threads(ranks, [&](World& world) {
      resumes_exactly(world, GetParam(), true);
      resumes_exactly(world, GetParam(), false);
    });
  }
}

TEST_P(EveryFeedback, another_number_of_ranks_keeps_the_mean_residual) {
  std::vector<StateMap> saved(4);
  std::vector<double> owed;
  run_ranks_as_threads(4, [&](World& world) {
    Rig rig(world, GetParam());
    for (std::int64_t step = 0; step < 3; ++step) rig.step(step, 1);
    saved[static_cast<std::size_t>(world.rank())] = rig.state();
    const auto debt = rig.debt();
    if (world.rank() == 0) owed = debt;
  });
  for (int ranks : {1, 2, 3}) {
    run_ranks_as_threads(ranks, [&](World& world) {
      Rig rig(world, GetParam());
      EXPECT_FALSE(rig.exchange().load(StateReader(saved[0])));
      for (const StateMap& map : saved) rig.exchange().carry(StateReader(map));
      const std::vector<double> debt = rig.debt();
      for (std::size_t i = 0; i < debt.size(); ++i) ASSERT_NEAR(debt[i], owed[i], 1e-2) << i;
      rig.step(3, 1);
    });
  }
}

// ---- an exact start

/// How many steps are exact with `name` alone, of 25, when so many are asked for.
std::int64_t exact_steps_of(const std::string& name, std::int64_t asked) {
  std::int64_t steps = -1;
  run_ranks_as_threads(1, [&](World& world) {
    const auto collectives = rig_collectives(world, Device{});
    ExchangeOptions options;
    options.compression = {.name = name, .exact_steps = asked, .steps = 25};
    steps = make_exchange(rig_layout(), *collectives, options)->exact_steps();
  });
  return steps;
}

TEST_P(EveryCompressor, starts_exactly_for_a_fifth_of_the_steps_if_it_withholds) {
  const std::set<std::string> withhold{"ef_sign",  "topk",      "shared_topk", "random_k",
                                       "powersgd", "sign_vote", "onebit_adam"};
  EXPECT_EQ(exact_steps_of(GetParam(), kExactStart), withhold.contains(GetParam()) ? 5 : 0);
  EXPECT_EQ(exact_steps_of(GetParam(), 0), 0);
  EXPECT_EQ(exact_steps_of(GetParam(), 7), GetParam() == "dgc" ? 0 : 7);
}

// ---- negative controls

TEST(CompressControl, without_feedback_the_debt_is_lost) {
  run_ranks_as_threads(2, [](World& world) {
    Rig rig(world, "int4", {.feedback = false});
    std::vector<double> gap(static_cast<std::size_t>(rig.layout().stored_count()));
    for (std::int64_t step = 0; step < 4; ++step) {
      rig.step(step, 1);
      const auto a = rig.gradient(0, step);
      const auto b = rig.gradient(1, step);
      for (std::size_t i = 0; i < gap.size(); ++i)
        gap[i] += static_cast<double>(rig.sums()[i]) - static_cast<double>(a[i]) - static_cast<double>(b[i]);
    }
    double worst = 0;
    for (double each : gap) worst = std::max(worst, std::abs(each));
    EXPECT_GT(worst, 1);
    for (double each : rig.debt()) ASSERT_EQ(each, 0);
  });
}

TEST(CompressControl, a_rate_outside_breaks_the_law_when_it_changes) {
  // p = g + e; x -= rate * sent: what was kept at one rate is paid back at another.
  run_ranks_as_threads(1, [](World& world) {
    Rig rig(world, "int4");
    std::vector<double> x(static_cast<std::size_t>(rig.layout().stored_count()));
    std::vector<double> descent = x;
    std::int64_t step = 0;
    for (double rate : {1.0, 0.5, 0.25, 1.0}) {
      rig.step(step, 1);
      const auto gradient = rig.gradient(0, step++);
      for (std::size_t i = 0; i < x.size(); ++i) {
        x[i] -= rate * static_cast<double>(rig.sums()[i]);
        descent[i] += rate * static_cast<double>(gradient[i]);
      }
    }
    const auto debt = rig.debt();
    double worst = 0;
    for (std::size_t i = 0; i < x.size(); ++i) worst = std::max(worst, std::abs(x[i] - debt[i] + descent[i]));
    EXPECT_GT(worst, 0.1);
  });
}

TEST(CompressControl, a_forgotten_residual_continues_elsewhere) {
  run_ranks_as_threads(2, [](World& world) {
    Rig whole(world, "ef_sign");
    Rig forgetful(world, "ef_sign");
    whole.step(0, 1);
    whole.step(1, 1);
    forgetful.step(1, 1);
    EXPECT_NE(std::memcmp(whole.sums().data(), forgetful.sums().data(), whole.sums().size_bytes()), 0);
  });
}

// ---- rules

TEST(CompressRules, patterns_match_like_file_names) {
  EXPECT_TRUE(matches("*", ""));
  EXPECT_TRUE(matches("layer?.*.weight", "layer1.0.conv1.weight"));
  EXPECT_FALSE(matches("layer?.*.weight", "layer12.0.conv1.weight"));
  EXPECT_FALSE(matches("head", "head.weight"));
  EXPECT_TRUE(matches("*weight", "weight.weight"));
}

TEST(CompressRules, choose_by_name_but_never_biases_or_small_slots) {
  const SlotRules rules({.name = "int8", .rules = {"head.*=none", "*=bf16"}, .min_elements = 100});
  const SlotLayout layout = rig_layout();
  EXPECT_EQ(rules.choose(*layout.find("head.weight")), "none");
  EXPECT_EQ(rules.choose(*layout.find("deep.weight")), "bf16");
  EXPECT_EQ(rules.choose(*layout.find("head.bias")), "none");
  EXPECT_EQ(rules.choose(*layout.find("small.weight")), "none");
}

TEST(CompressRules, those_that_match_nothing_are_idle) {
  const SlotLayout layout = rig_layout();
  const SlotRules rules(
      {.rules = {"h?ad.*=none", "*.bias=int8", "haed.*=bf16", "small.*=bf16"}, .min_elements = 100});
  // Biases and small slots stay exact whatever a rule says.
  EXPECT_EQ(rules.idle(layout.slots()), (std::vector<std::string>{"*.bias", "haed.*", "small.*"}));
}

TEST(CompressRules, nonsense_is_refused) {
  EXPECT_THROW(SlotRules({.name = "int8", .rules = {"head"}}), Error);
  EXPECT_THROW(SlotRules({.name = "int8", .rules = {"head=int9"}}), Error);
  expect_error(Fault::config, {"'topk:density=0.01'"},
               [] { SlotRules({.name = "int8", .rules = {"head.*=topk:density=0.01"}}); });
}

TEST(CompressRules, slots_of_one_bucket_may_go_different_ways) {
  run_ranks_as_threads(2, [](World& world) {
    Rig rig(world, "none", {.rules = {"deep.*=int8", "prime.*=bf16"}});
    rig.step(0, 1);
    const auto a = rig.gradient(0, 0);
    const auto b = rig.gradient(1, 0);
    const std::set<std::string> rules{"deep.weight", "prime.weight"};
    for (const Slot& slot : rig.layout().slots()) {
      bool same = true;
      for (auto i = static_cast<std::size_t>(slot.offset);
           i < static_cast<std::size_t>(slot.offset + slot.stored_count); ++i) {
        same = same && rig.sums()[i] == a[i] + b[i];
        EXPECT_NEAR(rig.sums()[i], a[i] + b[i], 100);
      }
      EXPECT_EQ(same, !rules.contains(slot.name)) << slot.name;
    }
  });
}

}  // namespace
}  // namespace lockstep::comm::compress
