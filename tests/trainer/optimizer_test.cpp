// Each optimizer against its published equations, written a second time here in double, over several steps
// with changing gradients, rates and clip factors.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>

#include "core/error.h"
#include "core/refresh.h"
#include "tests/trainer/optimizer_rig.h"

namespace lockstep::trainer {
namespace {

using Vector = std::vector<double>;

/// One slot as the papers write it.
struct Reference {
  Vector w, m, v;
  bool decays;
  Reference(const std::vector<float>& start, bool with_decay)
      : w(start.begin(), start.end()), m(start.size()), v(start.size()), decays(with_decay) {}
};
using Rule = std::function<void(Reference& slot, const Vector& g, double rate, int t)>;

double length(const Vector& x) {
  double sum = 0;
  for (double each : x) sum += each * each;
  return std::sqrt(sum);
}

constexpr int kSteps = 5;

/// Momentum that comes with gradients.
struct Taken {
  std::int64_t after = 0;
  bool refreshed = false;
};

/// Runs the optimizer and the rule side by side on a weight and a bias; their largest difference.
double difference(const std::string& name, const Pairs& settings, const Rule& rule,
                  const std::optional<Taken>& taken = {}, int steps = kSteps) {
  OptimizerRig rig({{"a.weight", Shape{7, 3}}, {"b.bias", Shape{5}, {}, false}}, name, settings);
  if (taken) rig.optimizer().take_momentum(taken->after, taken->refreshed);
  std::vector<Reference> slots;
  for (const Slot& slot : rig.layout().slots()) slots.emplace_back(rig.value(slot.name), slot.decays);
  double largest = 0;
  for (int t = 1; t <= steps; ++t) {
    const float rate = 0.1f / static_cast<float>(t);
    const float scale = 0.25f, clip = t == 2 ? 0.5f : 1.0f;
    rig.step({.step = t - 1, .rate = rate, .gradient_scale = scale, .clip_factor = clip}, t);
    for (std::size_t s = 0; s < slots.size(); ++s) {
      const std::string& slot = rig.layout().slots()[s].name;
      Vector g;
      for (float each : rig.gradient(slot))
        g.push_back(static_cast<double>(each) * 0.25 * static_cast<double>(clip));
      rule(slots[s], g, static_cast<double>(rate), t);
      const auto values = rig.value(slot);
      for (std::size_t i = 0; i < values.size(); ++i)
        largest = std::max(largest, std::abs(static_cast<double>(values[i]) - slots[s].w[i]));
    }
  }
  return largest;
}

void expect_follows(const std::string& name, const Pairs& settings, const Rule& rule) {
  EXPECT_LT(difference(name, settings, rule), 2e-5) << name;
}

Rule sgd(double mu, bool nesterov, double coupled, double decoupled) {
  return [=](Reference& slot, const Vector& g, double rate, int) {
    for (std::size_t i = 0; i < g.size(); ++i) {
      const double w = slot.w[i];
      const double d = g[i] + (slot.decays ? coupled * w : 0);
      slot.m[i] = mu * slot.m[i] + d;
      slot.w[i] =
          w - rate * (nesterov ? d + mu * slot.m[i] : slot.m[i]) - (slot.decays ? rate * decoupled * w : 0);
    }
  };
}

TEST(Sgd, plain_is_the_gradient_times_the_rate) {
  expect_follows("sgd", {{"momentum", "0"}}, sgd(0, false, 0, 0));
}
TEST(Sgd, momentum_is_polyaks) { expect_follows("sgd", {{"momentum", "0.9"}}, sgd(0.9, false, 0, 0)); }
TEST(Sgd, nesterov_looks_ahead) {
  expect_follows("sgd", {{"momentum", "0.8"}, {"nesterov", "true"}}, sgd(0.8, true, 0, 0));
}
TEST(Sgd, decay_is_part_of_the_gradient_and_spares_biases) {
  expect_follows("sgd", {{"weight_decay", "0.3"}}, sgd(0.9, false, 0.3, 0));
}
TEST(Sgd, decoupled_decay_stays_out_of_the_momentum) {
  expect_follows("sgd", {{"weight_decay", "0.3"}, {"decoupled", "true"}, {"nesterov", "true"}},
                 sgd(0.9, true, 0, 0.3));
}
TEST(Sgd, comparison_notices_another_momentum) {
  EXPECT_GT(difference("sgd", {{"momentum", "0.9"}}, sgd(0.91, false, 0, 0)), 1e-4);
}

/// Adam's direction m' / (sqrt(v') + epsilon), with moments of d.
Vector adam_direction_of(Reference& slot, const Vector& d, int t, double b1, double b2, double epsilon) {
  Vector direction(d.size());
  for (std::size_t i = 0; i < d.size(); ++i) {
    slot.m[i] = b1 * slot.m[i] + (1 - b1) * d[i];
    slot.v[i] = b2 * slot.v[i] + (1 - b2) * d[i] * d[i];
    direction[i] =
        slot.m[i] / (1 - std::pow(b1, t)) / (std::sqrt(slot.v[i] / (1 - std::pow(b2, t))) + epsilon);
  }
  return direction;
}

Rule adam(double b1, double b2, double epsilon, double decay, bool decoupled) {
  return [=](Reference& slot, const Vector& g, double rate, int t) {
    const double lambda = slot.decays ? decay : 0;
    Vector d = g;
    for (std::size_t i = 0; i < d.size() && !decoupled; ++i) d[i] += lambda * slot.w[i];
    const Vector direction = adam_direction_of(slot, d, t, b1, b2, epsilon);
    for (std::size_t i = 0; i < d.size(); ++i)
      slot.w[i] -= rate * (direction[i] + (decoupled ? lambda * slot.w[i] : 0));
  };
}

TEST(AdamW, follows_loshchilov_and_hutter) {
  expect_follows("adamw", {}, adam(0.9, 0.999, 1e-8, 0.01, true));
}
TEST(AdamW, settings_reach_the_equation) {
  expect_follows("adamw", {{"beta1", "0.8"}, {"beta2", "0.95"}, {"epsilon", "1e-3"}, {"weight_decay", "0.5"}},
                 adam(0.8, 0.95, 1e-3, 0.5, true));
}
TEST(AdamW, coupled_decay_is_adam_with_l2) {
  expect_follows("adamw", {{"decoupled", "false"}, {"weight_decay", "0.5"}},
                 adam(0.9, 0.999, 1e-8, 0.5, false));
}
TEST(AdamW, first_step_moves_each_element_by_the_rate) {
  OptimizerRig rig({{"w", Shape{4}}}, "adamw", {{"weight_decay", "0"}});
  const auto before = rig.value("w");
  rig.step({.step = 0, .rate = 0.125f}, 1);
  const auto after = rig.value("w");
  for (std::size_t i = 0; i < before.size(); ++i) EXPECT_NEAR(std::abs(after[i] - before[i]), 0.125f, 1e-5f);
}

// ---- momentum that comes with the gradients

TEST(Sgd, takes_momentum_and_keeps_its_own_for_the_decay) {
  const Pairs settings{{"weight_decay", "0.5"}};
  const Rule rule = [](Reference& slot, const Vector& g, double rate, int) {
    for (std::size_t i = 0; i < g.size(); ++i) {
      slot.m[i] = 0.9 * slot.m[i] + (slot.decays ? 0.5 * slot.w[i] : 0);
      slot.w[i] -= rate * (g[i] + slot.m[i]);
    }
  };
  EXPECT_LT(difference("sgd", settings, rule, Taken{}), 2e-5);
  EXPECT_GT(difference("sgd", settings, rule), 1e-2);  // control
}

/// Adam that is given its first moment after two updates; `refreshed`: but in exact ones, which alone move v.
Rule given_adam(bool refreshed) {
  return [=](Reference& slot, const Vector& g, double rate, int t) {
    const bool given = t > 2 && !(refreshed && refreshes(t - 3));
    for (std::size_t i = 0; i < g.size(); ++i) {
      slot.m[i] = given ? g[i] : 0.9 * slot.m[i] + 0.1 * g[i];
      if (!given || !refreshed) slot.v[i] = 0.999 * slot.v[i] + 0.001 * g[i] * g[i];
      const double m = slot.m[i] / (1 - std::pow(0.9, t)), v = slot.v[i] / (1 - std::pow(0.999, t));
      slot.w[i] -= rate * (m / (std::sqrt(v) + 1e-8) + (slot.decays ? 0.01 * slot.w[i] : 0));
    }
  };
}

TEST(AdamW, takes_the_first_moment_from_an_update_on) {
  EXPECT_LT(difference("adamw", {}, given_adam(false), Taken{2}), 2e-5);
  for (const std::int64_t after : {1, 3})
    EXPECT_GT(difference("adamw", {}, given_adam(false), Taken{after}), 1e-3);  // controls
}

TEST(AdamW, measures_variances_in_exact_updates_alone_when_they_come_again) {
  EXPECT_LT(difference("adamw", {}, given_adam(true), Taken{2, true}, 24), 2e-5);
  for (const bool refreshed : {true, false})  // controls
    EXPECT_GT(difference("adamw", {}, given_adam(!refreshed), Taken{2, refreshed}, 24), 1e-3);
}

TEST(Momentum, is_refused_by_optimizers_that_make_their_own) {
  for (const char* name : {"lars", "lamb"}) {
    OptimizerRig rig({{"w", Shape{4}}}, name);
    EXPECT_THROW(rig.optimizer().take_momentum(0, false), Error) << name;
  }
}

Rule lars(double mu, double decay, double trust, double epsilon) {
  return [=](Reference& slot, const Vector& g, double rate, int) {
    const double lambda = slot.decays ? decay : 0;
    const double w = length(slot.w), gradient = length(g);
    const double ratio =
        slot.decays && w > 0 && gradient > 0 ? trust * w / (gradient + lambda * w + epsilon) : 1;
    for (std::size_t i = 0; i < g.size(); ++i) {
      slot.m[i] = mu * slot.m[i] + rate * ratio * (g[i] + lambda * slot.w[i]);
      slot.w[i] -= slot.m[i];
    }
  };
}

TEST(Lars, follows_you_gitman_and_ginsburg) { expect_follows("lars", {}, lars(0.9, 5e-5, 0.001, 1e-9)); }
TEST(Lars, settings_reach_the_equation) {
  expect_follows("lars",
                 {{"momentum", "0.5"}, {"weight_decay", "0.2"}, {"trust", "0.1"}, {"epsilon", "0.01"}},
                 lars(0.5, 0.2, 0.1, 0.01));
}

Rule lamb(double b1, double b2, double epsilon, double decay) {
  return [=](Reference& slot, const Vector& g, double rate, int t) {
    const double lambda = slot.decays ? decay : 0;
    Vector r = adam_direction_of(slot, g, t, b1, b2, epsilon);
    for (std::size_t i = 0; i < r.size(); ++i) r[i] += lambda * slot.w[i];
    const double w = length(slot.w), step = length(r);
    const double ratio = slot.decays && w > 0 && step > 0 ? w / step : 1;
    for (std::size_t i = 0; i < r.size(); ++i) slot.w[i] -= rate * ratio * r[i];
  };
}

TEST(Lamb, follows_you_et_al) { expect_follows("lamb", {}, lamb(0.9, 0.999, 1e-6, 0.01)); }
TEST(Lamb, settings_reach_the_equation) {
  expect_follows("lamb", {{"beta1", "0.7"}, {"beta2", "0.9"}, {"epsilon", "1e-2"}, {"weight_decay", "0.4"}},
                 lamb(0.7, 0.9, 1e-2, 0.4));
}

/// A trust ratio scales with the weights: doubling them doubles the step.
TEST(TrustRatio, step_length_is_in_proportion_to_the_weights) {
  for (const char* name : {"lars", "lamb"}) {
    const auto moved = [&](float factor) {
      OptimizerRig rig({{"w", Shape{6}}}, name, {{"weight_decay", "0"}});
      rig.set_value("w", {3 * factor, -1 * factor, 2 * factor, 0, factor, factor});
      const auto before = rig.value("w");
      rig.step({.step = 0, .rate = 0.01f}, 1);
      Vector change;
      for (std::size_t i = 0; i < before.size(); ++i)
        change.push_back(static_cast<double>(before[i] - rig.value("w")[i]));
      return length(change);
    };
    EXPECT_NEAR(moved(2) / moved(1), 2, 1e-3) << name;
  }
}

}  // namespace
}  // namespace lockstep::trainer
