// Compressors that make the optimizer's momentum: what comes back from a vote on each rank's own, what exact
// steps give, and that the momentum survives bad steps, checkpoints and other numbers of ranks.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "comm/worlds.h"
#include "core/error.h"
#include "core/refresh.h"
#include "tests/comm/compress_lab.h"
#include "tests/comm/compress_rig.h"

namespace lockstep::comm::compress {
namespace {

constexpr int kRanks = 3;  // no ties
constexpr float kMomentum = 0.5f;
const Place kBesideAdam{.momentum_kind = MomentumKind::average};

/// Exact in sums and halves.
Values whole_numbers(int rank, std::int64_t step) {
  Values values = normals(1024, rank, step);
  for (float& x : values) x = std::round(64 * x);
  return values;
}

Lab sign_vote(MomentumKind kind, bool nesterov, int steps, std::int64_t exact_steps) {
  return {.compressor = "sign_vote",
          .steps = steps,
          .scale = 0.25f,
          .momentum_kind = kind,
          .momentum = kMomentum,
          .nesterov = nesterov,
          .exact_steps = exact_steps};
}

/// What rank's optimizer would keep after `steps` steps of its own gradients; with Nesterov's look ahead.
Values own_momentum(MomentumKind kind, bool nesterov, int rank, int steps) {
  Values u(1024, 0.0f);
  for (int step = 0; step < steps; ++step) {
    const Values g = whole_numbers(rank, step);
    const float take = kind == MomentumKind::average ? 1 - kMomentum : 1.0f;
    for (std::size_t i = 0; i < u.size(); ++i) u[i] = kMomentum * u[i] + take * g[i];
  }
  const Values last = whole_numbers(rank, steps - 1);
  for (std::size_t i = 0; nesterov && i < u.size(); ++i) u[i] = last[i] + kMomentum * u[i];
  return u;
}

/// The sign of most ranks times the magnitude that they have in the mean, as a sum over ranks.
Values vote_of(const std::vector<Values>& ranks) {
  Values vote(1024);
  double magnitude = 0;
  for (std::size_t i = 0; i < vote.size(); ++i) {
    for (const Values& own : ranks) {
      vote[i] += own[i] > 0 ? 1.0f : -1.0f;
      magnitude += std::abs(static_cast<double>(own[i])) / 1024;
    }
  }
  for (float& x : vote) x = std::copysign(static_cast<float>(magnitude), x);
  return vote;
}

struct Kind {
  MomentumKind kind;
  bool nesterov;
};
constexpr Kind kKinds[] = {
    {MomentumKind::average, false}, {MomentumKind::heavy_ball, false}, {MomentumKind::heavy_ball, true}};

/// Elements that are zero vote at random: they are left out.
double difference(const Values& seen, const Values& expected, const std::vector<Values>& votes) {
  double most = 0;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    if (std::any_of(votes.begin(), votes.end(), [&](const Values& own) { return own[i] == 0; })) continue;
    most = std::max(most, std::abs(static_cast<double>(seen[i]) - static_cast<double>(expected[i])));
  }
  return most / length(expected);
}

TEST(SignVote, ranks_vote_on_their_own_momentum) {
  for (const Kind& each : kKinds) {
    std::vector<Values> own, gradients;
    for (int rank = 0; rank < kRanks; ++rank) {
      own.push_back(own_momentum(each.kind, each.nesterov, rank, 4));
      gradients.push_back(whole_numbers(rank, 3));
    }
    Lab lab = sign_vote(each.kind, each.nesterov, 4, 2);
    EXPECT_LT(difference(run(lab, kRanks, whole_numbers).sum, vote_of(own), own), 1e-6);
    lab.settings = {{"momentum", "false"}};
    const Values without = run(lab, kRanks, whole_numbers).sum;
    EXPECT_LT(difference(without, vote_of(gradients), gradients), 1e-6);
    EXPECT_GT(difference(without, vote_of(own), own), 1e-2) << "else momentum made no difference";
  }
}

TEST(SignVote, exact_steps_give_adam_gradients_and_descent_its_momentum) {
  for (const Kind& each : kKinds) {
    Values sum(1024, 0.0f), momentum(1024, 0.0f);
    for (int rank = 0; rank < kRanks; ++rank) {
      const Values g = whole_numbers(rank, 1), u = own_momentum(each.kind, each.nesterov, rank, 2);
      for (std::size_t i = 0; i < sum.size(); ++i) {
        sum[i] += g[i];
        momentum[i] += u[i];
      }
    }
    const Values seen = run(sign_vote(each.kind, each.nesterov, 2, 2), kRanks, whole_numbers).sum;
    const bool average = each.kind == MomentumKind::average;
    EXPECT_LT(relative_error(seen, average ? sum : momentum), 1e-6);
    EXPECT_GT(relative_error(seen, average ? momentum : sum), 1e-2);
  }
}

// ---- signs of first moments with error feedback

Lab ef_sign(MomentumKind kind, int steps) {
  return {.compressor = "ef_sign",
          .steps = steps,
          .scale = 0.25f,
          .momentum_kind = kind,
          .momentum = kMomentum,
          .exact_steps = 2};
}

TEST(EfSign, exact_steps_come_again_at_distances_that_double) {
  std::vector<std::int64_t> exact;
  for (std::int64_t since = 0; since < 60; ++since) {
    if (refreshes(since)) exact.push_back(since);
  }
  ASSERT_EQ(exact.size(), 16u + 16u + 3u);
  EXPECT_EQ(exact[15], 15);
  EXPECT_EQ(exact[16], 16);
  EXPECT_EQ(exact[17], 18);
  EXPECT_EQ(exact[31], 46);
  EXPECT_EQ(exact[32], 48);
  EXPECT_EQ(exact[33], 52);
}

TEST(EfSign, beside_adam_gives_gradients_in_exact_steps_and_else_the_first_moment) {
  // Step 18 lies 16 behind the start and is exact, 19 is not.
  for (const auto& [steps, exact] : {std::pair{19, true}, std::pair{20, false}}) {
    const Values seen = run(ef_sign(MomentumKind::average, steps), kRanks, whole_numbers).sum;
    Values sum(1024, 0.0f);
    for (int rank = 0; rank < kRanks; ++rank) {
      const Values g = whole_numbers(rank, steps - 1);
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += g[i];
    }
    const double off = relative_error(seen, sum);
    EXPECT_EQ(off < 1e-5, exact) << off;
    const Values plain = run(ef_sign(MomentumKind::none, steps), kRanks, whole_numbers).sum;
    EXPECT_GT(relative_error(plain, sum), 0.1) << "without momentum nothing is exact after the start";
  }
}

TEST(EfSign, beside_adam_nothing_of_the_moments_is_lost) {
  // m_t = beta m_{t-1} + (1 - beta) g_t + r_{t-1} - r_t, with r the residuals of ranks and owners in the
  // mean: what was owed is paid in the next compressed step, and exact steps leave it be.
  const Lab before = ef_sign(MomentumKind::average, 22), after = ef_sign(MomentumKind::average, 24);
  const Result early = run(before, kRanks, whole_numbers), late = run(after, kRanks, whole_numbers);
  const auto owed = [&](const Result& result) {
    Values sum = result.kept("owner", 0, before.shape);  // one block, one owner
    for (int rank = 0; rank < kRanks; ++rank) {
      const Values own = result.residual(rank, before.shape);
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += own[i] / kRanks;
    }
    return sum;
  };
  const Values m0 = early.kept("moment", 0, before.shape), m2 = late.kept("moment", 0, before.shape);
  const Values r0 = owed(early), r2 = owed(late);
  Values expected = m0;
  for (const int step : {22, 23}) {  // 22 is exact: 2 + 16 + 4
    for (std::size_t i = 0; i < expected.size(); ++i) {
      float g = 0;
      for (int rank = 0; rank < kRanks; ++rank) g += 0.25f * whole_numbers(rank, step)[i];
      expected[i] = kMomentum * expected[i] + (1 - kMomentum) * g;
    }
  }
  for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += r0[i] - r2[i];
  EXPECT_LT(relative_error(m2, expected), 1e-5);
  EXPECT_GT(length(r0), 0);
}

class EveryMomentum : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Table, EveryMomentum, testing::Values("sign_vote", "ef_sign", "dgc", "onebit_adam"),
                         [](const auto& each) { return each.param; });

TEST_P(EveryMomentum, keeps_the_promises_of_all_compressors_across_an_exact_start) {
  for (const MomentumKind kind : {MomentumKind::none, MomentumKind::heavy_ball, MomentumKind::average}) {
    for (const std::int64_t exact_steps : {1, 2, 3}) {
      const Place place{.momentum_kind = kind, .exact_steps = exact_steps};
      run_ranks_as_threads(3, [&](World& world) {
        same_bits_and_stated_bytes(world, GetParam(), true, place);
        nonfinite_leaves_no_trace(world, GetParam(), place);
        resumes_exactly(world, GetParam(), true, place);
      });
    }
  }
}

/// The momentum that a rank saved, of one slot.
Values saved_momentum(const StateMap& map, const SlotLayout& layout) {
  return StateReader(map).scope("moment").floats("head.weight", layout.find("head.weight")->shape);
}

TEST(SignVote, another_number_of_ranks_takes_over_the_mean_momentum) {
  std::vector<StateMap> saved(4);
  run_ranks_as_threads(4, [&](World& world) {
    Rig rig(world, "sign_vote", {.place = kBesideAdam});
    for (std::int64_t step = 0; step < 3; ++step) rig.step(step, 1);
    saved[static_cast<std::size_t>(world.rank())] = rig.state();
  });
  Values mean(1280, 0.0f);
  for (const StateMap& map : saved) {
    const Values own = saved_momentum(map, rig_layout());
    for (std::size_t i = 0; i < mean.size(); ++i) mean[i] += own[i] / 4;
  }
  EXPECT_GT(relative_error(saved_momentum(saved[0], rig_layout()), mean), 0.1) << "each has its own";
  run_ranks_as_threads(2, [&](World& world) {
    Rig rig(world, "sign_vote", {.place = kBesideAdam});
    EXPECT_FALSE(rig.exchange().load(StateReader(saved[0])));
    for (const StateMap& map : saved) rig.exchange().carry(StateReader(map));
    EXPECT_LT(relative_error(saved_momentum(rig.state(), rig.layout()), mean), 1e-6);
  });
}

TEST(SignVote, exact_slots_get_the_same_momentum) {
  run_ranks_as_threads(2, [](World& world) {
    const auto seen = [&](const Place& place) {
      Rig rig(world, "sign_vote", {.place = place});
      for (std::int64_t step = 0; step < 2; ++step) rig.step(step, 1);
      const Slot* bias = rig.layout().find("head.bias");
      return rig.sums()[static_cast<std::size_t>(bias->offset)];
    };
    Rig rig(world, "none");
    const auto at = static_cast<std::size_t>(rig.layout().find("head.bias")->offset);
    float sums[2];
    for (int step = 0; step < 2; ++step) sums[step] = rig.gradient(0, step)[at] + rig.gradient(1, step)[at];
    EXPECT_EQ(seen({.momentum_kind = MomentumKind::none}), sums[1]);
    EXPECT_EQ(seen({.momentum_kind = MomentumKind::heavy_ball}), 0.5f * sums[0] + sums[1]);
    EXPECT_EQ(seen({.momentum_kind = MomentumKind::average}), 0.25f * sums[0] + 0.5f * sums[1]);
    EXPECT_EQ(seen({.momentum_kind = MomentumKind::average, .exact_steps = 2}), sums[1]);
  });
}

TEST(Momentum, mixed_with_compressors_that_make_none_is_refused) {
  run_ranks_as_threads(1, [](World& world) {
    const RigOptions mixed{.rules = {"deep.*=int8"}, .place = kBesideAdam};
    EXPECT_THROW(Rig(world, "sign_vote", mixed), Error);
    const RigOptions plain{.rules = {"deep.*=int8"}};
    EXPECT_NO_THROW(Rig(world, "sign_vote", plain));
  });
}

}  // namespace
}  // namespace lockstep::comm::compress
