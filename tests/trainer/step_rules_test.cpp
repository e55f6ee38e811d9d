// What a step does around the optimizer, read from the checkpoints of tiny runs: averaged weights, the bound
// of the gradient norm, microbatches that add up, and being asked to stop.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstring>
#include <map>

#include "tests/trainer/tiny_run.h"
#include "trainer/checkpoint.h"
#include "trainer/signals.h"

namespace lockstep::trainer {
namespace {

using Slots = std::map<std::string, std::vector<float>>;

/// The f32 tensors below `prefix` of a checkpoint.
Slots slots_of(const StateMap& state, const std::string& prefix) {
  Slots slots;
  for (const auto& [key, entry] : state.entries) {
    if (!key.starts_with(prefix) || entry.dtype != Dtype::f32) continue;
    std::vector<float>& slot = slots[key.substr(prefix.size())];
    slot.resize(entry.bytes.size() / sizeof(float));
    std::memcpy(slot.data(), entry.bytes.data(), entry.bytes.size());
  }
  return slots;
}

/// A small perceptron that keeps a checkpoint of every step.
Outcome run_in(const ScratchDirectory& scratch, Overrides overrides, int ranks) {
  overrides.insert(overrides.end(), {"checkpoint.every_steps=1", "checkpoint.keep=100", "model.name=mlp",
                                     "model.mlp.hidden=[8]"});
  write_tiny_images(scratch.path() + "/images.h5");
  return run_tiny(tiny_config(scratch.path(), "images", overrides), ranks, {.run_directory = scratch.path()});
}

class StepRules : public ::testing::Test {
 protected:
  StateMap after(int step) const {
    return read_shared_state(scratch_.path() + "/checkpoints/step-" + std::to_string(step));
  }
  Outcome run(const Overrides& overrides, int ranks) const { return run_in(scratch_, overrides, ranks); }
  Slots values(int step) const { return slots_of(after(step), "model/values/"); }

 private:
  ScratchDirectory scratch_;
};

/// Root of the summed squares of b - a.
double distance(const Slots& a, const Slots& b) {
  double sum = 0;
  for (const auto& [name, slot] : a) {
    for (std::size_t i = 0; i < slot.size(); ++i) sum += std::pow(double{b.at(name)[i]} - slot[i], 2);
  }
  return std::sqrt(sum);
}

const Overrides kPlainSgd{"optimizer.name=sgd",
                          "optimizer.sgd.momentum=0",
                          "optimizer.sgd.weight_decay=0",
                          "rate_shape.name=constant",
                          "rate.peak=0.5",
                          "rate.warmup_steps=0"};

Overrides plain_sgd(const Overrides& more) {
  Overrides all = kPlainSgd;
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

TEST_F(StepRules, averaged_weights_follow_their_equation_bit_for_bit) {
  static_cast<void>(run({"train.ema=0.75", "train.steps=4"}, 2));
  for (int step = 2; step <= 4; ++step) {
    const Slots before = slots_of(after(step - 1), "average/");
    const Slots now = slots_of(after(step), "average/");
    const Slots weights = values(step);
    ASSERT_EQ(now.size(), weights.size());
    for (const auto& [name, slot] : now) {
      for (std::size_t i = 0; i < slot.size(); ++i)
        EXPECT_EQ(slot[i], 0.75f * before.at(name)[i] + (1.0f - 0.75f) * weights.at(name)[i]) << name;
    }
    EXPECT_GT(distance(now, weights), 0) << "averages that are the weights show nothing";
  }
}

TEST_F(StepRules, averages_are_kept_only_when_asked_for) {
  static_cast<void>(run({"train.steps=1"}, 1));
  EXPECT_TRUE(slots_of(after(1), "average/").empty());
  EXPECT_FALSE(values(1).empty());
}

TEST_F(StepRules, evaluation_uses_the_averages) {
  const Outcome averaged = run({"train.ema=0.999", "train.steps=40"}, 1);
  // Averages of such a decay hardly left the initial weights, so they tell three classes no better than
  // chance.
  EXPECT_LT(averaged.evaluation.values[0].second, 0.75);
  EXPECT_GT(distance(slots_of(after(40), "average/"), values(40)), 0.1);
}

TEST_F(StepRules, step_is_no_longer_than_rate_times_bound) {
  static_cast<void>(run(plain_sgd({"train.clip_norm=0.01", "train.steps=4"}), 2));
  for (int step = 2; step <= 4; ++step)
    EXPECT_NEAR(distance(values(step - 1), values(step)), 0.5 * 0.01, 1e-6) << step;
}

TEST_F(StepRules, without_a_bound_the_step_is_longer) {
  static_cast<void>(run(plain_sgd({"train.clip_norm=0", "train.steps=2"}), 2));
  EXPECT_GT(distance(values(1), values(2)), 2 * 0.5 * 0.01);
}

TEST_F(StepRules, a_bound_beyond_the_norm_changes_no_bit) {
  const Outcome free = run(plain_sgd({"train.clip_norm=0", "train.steps=3"}), 1);
  const ScratchDirectory other;
  const Outcome bound = run_in(other, plain_sgd({"train.clip_norm=1000", "train.steps=3"}), 1);
  EXPECT_EQ(free.end.parameter_hash, bound.end.parameter_hash);
}

TEST_F(StepRules, microbatches_of_any_size_add_up_to_the_same_step) {
  static_cast<void>(run(plain_sgd({"batch.microbatch=16", "train.steps=1"}), 1));
  const Slots whole = values(1);
  for (const char* size : {"1", "4", "8"}) {
    const ScratchDirectory other;
    static_cast<void>(
        run_in(other, plain_sgd({std::string("batch.microbatch=") + size, "train.steps=1"}), 1));
    const Slots parts = slots_of(read_shared_state(other.path()), "model/values/");
    EXPECT_LT(distance(whole, parts), 1e-5) << "microbatch " << size;
  }
}

TEST(SignalWatch, tells_the_signal_by_its_name) {
  for (const auto& [number, name] :
       {std::pair{SIGUSR1, "SIGUSR1"}, {SIGTERM, "SIGTERM"}, {SIGINT, "SIGINT"}}) {
    const SignalWatch watch;
    EXPECT_EQ(watch.name(), "");
    std::raise(number);
    EXPECT_EQ(watch.name(), name);
  }
}

TEST(SignalWatch, usr1_may_come_again) {
  const SignalWatch watch;
  std::raise(SIGUSR1);
  std::raise(SIGUSR1);
  EXPECT_EQ(watch.name(), "SIGUSR1");
}

TEST(SignalWatch, handlers_are_given_back) {
  static bool heard;
  heard = false;
  const auto before = std::signal(SIGUSR1, [](int) { heard = true; });
  {
    const SignalWatch watch;
    std::raise(SIGUSR1);
    EXPECT_FALSE(heard);
  }
  std::raise(SIGUSR1);
  EXPECT_TRUE(heard);
  std::signal(SIGUSR1, before);
}

TEST(SignalWatchDeathTest, second_interrupt_ends_the_process) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "ThreadSanitizer keeps signals back";
#endif
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        const SignalWatch watch;
        std::raise(SIGINT);
        std::raise(SIGINT);
      },
      ::testing::KilledBySignal(SIGINT), "");
}

}  // namespace
}  // namespace lockstep::trainer
