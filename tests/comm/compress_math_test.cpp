// The mathematics of single compressors: what is kept, what is exact, what stays bounded.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <future>

#include "comm/compress/codec.h"
#include "comm/compress/trial.h"
#include "comm/worlds.h"
#include "tests/comm/compress_lab.h"
#include "tests/comm/compress_rig.h"
#include "tests/comm/sums.h"

namespace lockstep::comm::compress {
namespace {

// ---- sparse

TEST(TopK, keeps_exactly_k_largest_and_the_lower_index_among_equals) {
  const Gradient gradient = [](int, std::int64_t) {
    Values values(1024, 1.0f);
    values[1000] = -5;
    values[3] = 4;
    return values;
  };
  const Lab lab{.compressor = "topk", .settings = {{"density", "0.00390625"}}};  // 4 of 1024
  const Result result = run(lab, 1, gradient);
  Values expected(1024, 0.0f);
  expected[1000] = -5;
  expected[3] = 4;
  expected[0] = expected[1] = 1;
  EXPECT_EQ(result.sum, expected);
  const Values rest = result.residual(0, lab.shape);
  const Values all = gradient(0, 0);
  for (std::size_t i = 0; i < all.size(); ++i) ASSERT_EQ(rest[i] + result.sum[i], all[i]);
}

TEST(TopK, everything_kept_is_the_exact_sum) {
  const Gradient gradient = [](int rank, std::int64_t step) { return normals(1024, rank, step); };
  for (const char* name : {"topk", "shared_topk", "random_k"}) {
    const Result result = run({.compressor = name, .settings = {{"density", "1"}}}, 4, gradient);
    EXPECT_LT(relative_error(result.sum, true_sum(4, gradient)), 1e-6) << name;
  }
}

TEST(SharedTopK, all_ranks_send_the_leaders_indices) {
  const Gradient gradient = [](int rank, std::int64_t) {
    Values values(1024, 1.0f);
    values[static_cast<std::size_t>(rank)] = 100;
    return values;
  };
  const Result result =
      run({.compressor = "shared_topk", .settings = {{"density", "0.0009765625"}}}, 4, gradient);
  Values expected(1024, 0.0f);
  expected[0] = 103;  // rank 0 leads step 0
  EXPECT_EQ(result.sum, expected);
}

TEST(RandomK, without_feedback_is_right_in_the_mean) {
  Values mean(1024, 0.0f);
  constexpr int kDraws = 400;
  for (int draw = 1; draw <= kDraws; ++draw) {
    const Result result = run({.compressor = "random_k",
                               .settings = {{"density", "0.25"}, {"feedback", "false"}},
                               .steps = draw % 8 + 1},
                              1, [&](int, std::int64_t) { return Values(1024, 1.0f); });
    for (std::size_t i = 0; i < mean.size(); ++i) mean[i] += result.sum[i] / kDraws;
  }
  double whole = 0;
  for (float each : mean) whole += static_cast<double>(each) / 1024;
  EXPECT_NEAR(whole, 1, 1e-4);
}

// ---- low rank

Gradient low_rank(int rank_of_matrix) {
  return [=](int rank, std::int64_t) {
    const Values left = normals(32 * rank_of_matrix, 50, 0);  // one column space on all ranks
    const Values right = normals(32 * rank_of_matrix, rank, 1);
    Values values(1024, 0.0f);
    for (int k = 0; k < rank_of_matrix; ++k) {
      for (std::size_t i = 0; i < 32; ++i) {
        for (std::size_t j = 0; j < 32; ++j)
          values[i * 32 + j] +=
              left[static_cast<std::size_t>(k) * 32 + i] * right[static_cast<std::size_t>(k) * 32 + j];
      }
    }
    return values;
  };
}

TEST(PowerSgd, matrices_of_low_rank_are_exact) {
  const Lab lab{.compressor = "powersgd", .settings = {{"rank", "4"}}};
  for (int ranks : {1, 3, 4}) {
    for (int of : {1, 4}) {
      EXPECT_LT(relative_error(run(lab, ranks, low_rank(of)).sum, true_sum(ranks, low_rank(of))), 1e-4)
          << "rank " << of;
    }
    EXPECT_GT(relative_error(run(lab, ranks, low_rank(8)).sum, true_sum(ranks, low_rank(8))),
              1e-2);  // control
  }
}

const Gradient kNoise = [](int rank, std::int64_t step) { return normals(1024, rank, step); };

TEST(PowerSgd, full_rank_is_lossless_to_rounding) {
  const Lab lab{.compressor = "powersgd", .settings = {{"rank", "32"}, {"min_ratio", "1"}}};
  // 32 * 64 elements do not shrink a matrix of 1024: it travels whole.
  EXPECT_LT(relative_error(run(lab, 3, kNoise).sum, true_sum(3, kNoise)), 1e-6);
}

TEST(PowerSgd, local_residual_stays_bounded) {
  const Lab once{.compressor = "powersgd", .settings = {{"rank", "1"}}, .steps = 200};
  Lab often = once;
  often.steps = 1000;
  const double early = length(run(once, 4, kNoise).residual(0, once.shape));
  const double late = length(run(often, 4, kNoise).residual(0, once.shape));
  EXPECT_LT(late, 1.5 * early);  // a random walk would have grown by sqrt(5)
}

// ---- a start without compression

TEST(ExactSteps, come_first_and_leave_no_residual) {
  const Gradient gradient = [](int rank, std::int64_t) { return normals(1024, rank, 0); };
  for (const char* name : {"int4", "ef_sign", "topk", "random_k", "powersgd", "sign_vote"}) {
    Lab lab{.compressor = name, .steps = 2, .exact_steps = 2};
    if (name == std::string("powersgd")) lab.settings = {{"rank", "4"}};
    const Result exact = run(lab, 3, gradient);
    EXPECT_LT(relative_error(exact.sum, true_sum(3, gradient)), 1e-6) << name;
    if (name != std::string("sign_vote")) {
      EXPECT_EQ(length(exact.residual(1, lab.shape)), 0) << name;
    }
    lab.steps = 3;  // the control: from here on it is compressed
    EXPECT_GT(relative_error(run(lab, 3, gradient).sum, true_sum(3, gradient)), 1e-3) << name;
  }
}

TEST(ExactSteps, a_step_reports_as_itself_though_the_next_one_is_enqueued) {
  run_ranks_as_threads(2, [](World& world) {
    Rig rig(world, "int8", {.place = {.exact_steps = 1}});
    const FlatArray gradients = make_array(Device{}, Dtype::f32, rig.layout().stored_count());
    std::promise<void> both_enqueued;
    std::array<std::size_t, 2> compressed{7, 7};
    const auto compute = make_stream(Device{});
    compute->host([go = both_enqueued.get_future().share()] { go.wait(); });
    for (std::size_t step = 0; step < 2; ++step) {
      rig.exchange().begin(gradients.span, {.step = static_cast<std::int64_t>(step)});
      rig.exchange().complete(static_cast<int>(rig.layout().slots().size()), compute->record());
      rig.exchange().finish(*compute);
      compute->host([&, step] { compressed[step] = rig.report().compressed.size(); });
    }
    both_enqueued.set_value();
    compute->synchronize();
    EXPECT_EQ(compressed[0], 0U);
    EXPECT_GT(compressed[1], 0U);
  });
}

// ---- votes

TEST(SignVote, the_majority_decides_and_a_tie_is_nothing) {
  const Gradient gradient = [](int rank, std::int64_t) {
    Values values(1024, rank < 2 ? 3.0f : -0.1f);  // two against two
    std::fill(values.begin(), values.begin() + 100, rank < 3 ? -7.0f : 100.0f);
    return values;
  };
  const Result result =
      run({.compressor = "sign_vote", .settings = {{"magnitude", "unit"}}, .scale = 0.25f}, 4, gradient);
  for (std::size_t i = 0; i < 1024; ++i) ASSERT_EQ(result.sum[i], i < 100 ? -4.0f : 0.0f);  // -1 / scale
}

TEST(SignVote, positive_factors_change_nothing) {
  const Gradient plain = [](int rank, std::int64_t step) { return normals(1024, rank, step); };
  const Gradient scaled = [&](int rank, std::int64_t step) {
    Values values = plain(rank, step);
    for (float& x : values) x *= static_cast<float>(1 << rank);
    return values;
  };
  const Lab unit{.compressor = "sign_vote", .settings = {{"magnitude", "unit"}}};
  EXPECT_EQ(run(unit, 3, plain).sum, run(unit, 3, scaled).sum);
  const Lab mean{.compressor = "sign_vote"};
  EXPECT_NE(run(mean, 3, plain).sum, run(mean, 3, scaled).sum);  // control: here magnitudes count
}

// ---- sums

TEST(SharedGrid, every_schedule_gives_the_same_bits) {
  const Gradient gradient = [](int rank, std::int64_t step) { return normals(1024, rank, step); };
  const Result reference = run({.compressor = "shared_grid"}, 5, gradient);
  for (const char* schedule : {"recursive_doubling", "halving_doubling", "double_tree", "library"})
    EXPECT_EQ(run({.compressor = "shared_grid", .schedule = schedule}, 5, gradient).sum, reference.sum)
        << schedule;
  const Result ring = run({.compressor = "random_k", .settings = {{"density", "1"}}}, 5, gradient);
  const Result tree =
      run({.compressor = "random_k", .settings = {{"density", "1"}}, .schedule = "double_tree"}, 5, gradient);
  EXPECT_NE(ring.sum, tree.sum);
}

/// The second 1024 elements are a thousand times smaller than the first.
Gradient uneven() {
  return [](int rank, std::int64_t step) {
    Values values = normals(2048, rank, step);
    for (std::size_t i = 1024; i < values.size(); ++i) values[i] *= 1e-3f;
    return values;
  };
}

Values second_half(const Values& values) { return {values.begin() + 1024, values.end()}; }

TEST(SharedGrid, small_blocks_keep_their_digits_beside_large_ones) {
  const Lab lab{.shape = {64, 32}, .compressor = "shared_grid", .settings = {{"feedback", "false"}}};
  const Result result = run(lab, 4, uneven());
  EXPECT_LT(relative_error(second_half(result.sum), second_half(true_sum(4, uneven()))), 0.1);
}

TEST(SignVote, votes_have_the_magnitude_of_their_block) {
  const Result result = run({.shape = {64, 32}, .compressor = "sign_vote"}, 3, uneven());
  const auto largest = [](const Values& values) {
    float most = 0;
    for (float x : values) most = std::max(most, std::abs(x));
    return most;
  };
  const float first = largest({result.sum.begin(), result.sum.begin() + 1024});
  EXPECT_NEAR(largest(second_half(result.sum)), 1e-3f * first, 1e-4f * first);
}

Gradient heavy_tailed() {
  return [](int rank, std::int64_t step) {
    const Values common = normals(8192, 63, 0);
    Values values = normals(8192, rank, step);
    const Values tails = normals(8192, rank, step + 1000);
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = 0.3f * common[i] + values[i] * std::exp(0.7f * tails[i]);
    return values;
  };
}

TEST(TwoShot, the_error_does_not_grow_with_ranks) {
  const Lab lab{.shape = {64, 128}, .compressor = "int8"};
  for (int ranks : {2, 4, 8, 16})
    EXPECT_LT(relative_error(run(lab, ranks, heavy_tailed()).sum, true_sum(ranks, heavy_tailed())), 0.022)
        << ranks;
}

/// The control: codes rounded anew at each of the hops round a ring.
double error_of_ring(int ranks) {
  const auto codec = make_codec({.kind = CodecKind::int8}, Device{});
  const auto stream = make_stream(Device{});
  std::vector<std::uint8_t> wire(static_cast<std::size_t>(codec->payload(8192)));
  Values sum = heavy_tailed()(0, 0);
  for (int rank = 1; rank < ranks; ++rank) {
    codec->encode(flat(std::span(sum)), flat(std::span(wire)), {}, 0, *stream);
    Values own = heavy_tailed()(rank, 0);
    codec->decode(flat(std::span(wire)), flat(std::span(own)), Codec::Into::add, *stream);
    stream->synchronize();
    sum = own;
  }
  return relative_error(sum, true_sum(ranks, heavy_tailed()));
}

TEST(TwoShot, rounding_at_every_hop_would_grow_with_ranks) {
  EXPECT_GT(error_of_ring(32), 1.6 * error_of_ring(4));
  EXPECT_GT(error_of_ring(32), 0.022);
}

// ---- the choice by measurement

TEST(Trials, the_fastest_wins_when_it_wins_enough) {
  EXPECT_EQ(judge_trials({{"none", 1.0, 100}, {"bf16", 0.6, 50}, {"int8", 0.4, 25}}).compressor, "int8");
  EXPECT_EQ(judge_trials({{"none", 1.0, 100}, {"bf16", 0.95, 50}, {"int8", 1.4, 25}}).compressor, "none");
  EXPECT_NE(judge_trials({{"none", 1.0, 100}, {"int8", 0.4, 25}}).why.find("0.40"), std::string::npos);
}

}  // namespace
}  // namespace lockstep::comm::compress
