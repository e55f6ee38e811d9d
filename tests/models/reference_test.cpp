// What gradient checks cannot see: exact values, dropout masks, batch-norm statistics, rows that do not
// count, and the rules about adding.
#include <gtest/gtest.h>

#include <algorithm>
#include <barrier>
#include <cmath>
#include <thread>

#include "core/error.h"
#include "models/ops/dropout_mask.h"
#include "one_kernel.h"

namespace lockstep::models::testing {
namespace {

BuildGraph plain(const Shape& sample, const OpSpec& op) {
  return [=](GraphBuilder& b) { b.predict(b.apply(op, {b.input(sample, Dtype::f32)}, "op")); };
}
BuildGraph batch_norm(const Shape& sample, bool synchronised) {
  return [=](GraphBuilder& b) {
    b.predict(b.batch_norm(b.input(sample, Dtype::f32), "op", {.synchronised = synchronised}));
  };
}
BuildGraph cross_entropy(const Shape& sample, const SoftmaxCrossEntropy& op) {
  return [=](GraphBuilder& b) {
    b.predict(b.apply(Relu{}, {b.input(sample, Dtype::f32)}, "x"));
    b.loss(op);
  };
}

TEST(Dropout, mask_depends_on_seed_node_and_global_sample_only) {
  std::vector<std::uint8_t> mask(101), other(101), part(40);
  dropout_mask(3, "drop", 17, 0.3f, 0, mask);
  dropout_mask(3, "drop", 17, 0.3f, 0, other);
  EXPECT_EQ(mask, other);
  dropout_mask(3, "drop", 17, 0.3f, 50, part);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), mask.begin() + 50));
  for (const auto& [seed, node, sample] :
       {std::tuple{4, "drop", 17}, std::tuple{3, "drop2", 17}, std::tuple{3, "drop", 18}}) {
    dropout_mask(static_cast<std::uint64_t>(seed), node, sample, 0.3f, 0, other);
    EXPECT_NE(mask, other) << seed << node << sample;
  }
}

TEST(Dropout, rate_is_the_share_of_dropped_elements) {
  std::vector<std::uint8_t> mask(100'000);
  for (float rate : {0.f, 0.1f, 0.5f, 0.9f}) {
    dropout_mask(1, "drop", 0, rate, 0, mask);
    const double kept = static_cast<double>(std::count(mask.begin(), mask.end(), 1)) / 100'000;
    EXPECT_NEAR(kept, 1 - static_cast<double>(rate), 0.005);
  }
}

TEST(Dropout, batch_split_does_not_change_it) {
  OneKernel whole(plain({6}, Dropout{0.5f}), 4);
  OneKernel half(plain({6}, Dropout{0.5f}), 2);
  whole.pass.first_sample = 10;
  whole.forward();
  half.pass.first_sample = 12;
  std::copy(whole.inputs[0].begin() + 12, whole.inputs[0].end(), half.inputs[0].begin());
  half.forward();
  EXPECT_TRUE(std::equal(half.output().begin(), half.output().begin() + 12, whole.output().begin() + 12));
}

TEST(Dropout, evaluation_is_the_identity) {
  OneKernel kernel(plain({8}, Dropout{0.9f}), 2);
  kernel.pass.mode = Mode::evaluate;
  kernel.forward();
  EXPECT_EQ(kernel.output(), kernel.inputs[0]);
}

TEST(BatchNormKernel, training_writes_mean_and_unbiased_variance_of_the_microbatch) {
  OneKernel kernel(batch_norm({1, 1, 2}, false), 2);
  kernel.inputs[0] = {1, 3, 5, 7};
  kernel.forward();
  EXPECT_DOUBLE_EQ(kernel.statistics[0], 4);
  EXPECT_DOUBLE_EQ(kernel.statistics[1], 20.0 / 3);
  kernel.pass.accumulate = true;
  kernel.inputs[0] = {0, 0, 0, 4};
  kernel.forward();
  EXPECT_DOUBLE_EQ(kernel.statistics[0], 4 + 1);
  EXPECT_DOUBLE_EQ(kernel.statistics[1], 20.0 / 3 + 4);
}

TEST(BatchNormKernel, evaluation_uses_running_values_and_treats_them_as_constants) {
  OneKernel kernel(batch_norm({1}, false), 3);
  kernel.state = {2, 9 - 1e-5};
  kernel.values = {3, 0.5};
  kernel.inputs[0] = {2, 5, -1};
  kernel.output_gradient = {1, 2, -4};
  kernel.pass.mode = Mode::evaluate;
  kernel.forward();
  kernel.backward();
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(kernel.output()[i], (kernel.inputs[0][i] - 2) + 0.5, 1e-9);
    EXPECT_NEAR(kernel.input_gradients[0][i], kernel.output_gradient[i], 1e-9);
  }
  EXPECT_EQ(kernel.statistics, std::vector<double>({0, 0}));
}

/// Sums f32 arrays of two ranks that are threads.
class TwoRanks {
 public:
  SumHook hook(int rank) {
    return [this, rank](FlatSpan array, Stream& stream) { stream.host([=, this] { sum(array, rank); }); };
  }

 private:
  void sum(FlatSpan array, int rank) {
    const auto mine = array.as<float>();
    parts_[rank].assign(mine.begin(), mine.end());
    barrier_.arrive_and_wait();
    for (std::size_t i = 0; i < mine.size(); ++i) mine[i] = parts_[0][i] + parts_[1][i];
    barrier_.arrive_and_wait();
  }
  std::vector<float> parts_[2];
  std::barrier<> barrier_{2};
};

TEST(BatchNormKernel, synchronised_over_two_ranks_equals_one_rank_with_both_batches) {
  OneKernel whole(batch_norm({3, 2, 2}, false), 4);
  whole.forward();
  whole.backward();
  TwoRanks ranks;
  OneKernel first(batch_norm({3, 2, 2}, true), 2, {.sum = ranks.hook(0), .ranks = 2});
  OneKernel second(batch_norm({3, 2, 2}, true), 2, {.sum = ranks.hook(1), .ranks = 2});
  const auto run = [&](OneKernel& half, std::ptrdiff_t begin) {
    std::copy_n(whole.inputs[0].begin() + begin, 24, half.inputs[0].begin());
    std::copy_n(whole.output_gradient.begin() + begin, 24, half.output_gradient.begin());
    half.forward();
    half.backward();
  };
  std::thread other([&] { run(second, 24); });
  run(first, 0);
  other.join();
  for (std::size_t i = 0; i < 24; ++i) {
    EXPECT_NEAR(first.output()[i], whole.output()[i], 1e-5);
    EXPECT_NEAR(second.output()[i], whole.output()[i + 24], 1e-5);
    EXPECT_NEAR(first.input_gradients[0][i], whole.input_gradients[0][i], 1e-5);
    EXPECT_NEAR(second.input_gradients[0][i], whole.input_gradients[0][i + 24], 1e-5);
  }
  for (std::size_t i = 0; i < whole.gradients.size(); ++i) {
    EXPECT_NEAR(first.gradients[i] + second.gradients[i], whole.gradients[i], 1e-5);
  }
  for (std::size_t i = 0; i < whole.statistics.size(); ++i) {
    EXPECT_NEAR(first.statistics[i], whole.statistics[i], 1e-5);
  }
}

TEST(CrossEntropyKernel, uniform_scores_give_log_of_the_classes) {
  OneKernel kernel(cross_entropy({5}, {.label_smoothing = 0.3f}), 2);
  kernel.inputs[0].assign(10, 2.5);
  kernel.forward();
  for (double loss : kernel.output()) EXPECT_NEAR(loss, std::log(5.0), 1e-12);
}

TEST(CrossEntropyKernel, large_scores_do_not_overflow) {
  OneKernel kernel(cross_entropy({2}, {}), 1);
  kernel.inputs[0] = {1e4, -1e4};
  kernel.ids[1] = {1};
  kernel.forward();
  EXPECT_DOUBLE_EQ(kernel.output()[0], 2e4);
}

TEST(CrossEntropyKernel, ignored_and_padded_rows_hold_the_mark_and_get_no_gradient) {
  OneKernel kernel(cross_entropy({2, 3}, {.ignore_index = -100}), 3);
  kernel.ids[1] = {0, -100, 2, 1, 1, 0};
  kernel.pass.rows = 2;
  kernel.forward();
  kernel.backward();
  for (std::size_t row : {1u, 4u, 5u}) {
    EXPECT_EQ(kernel.output()[row], static_cast<double>(kIgnoredRow));
    for (std::size_t k = 0; k < 3; ++k) EXPECT_EQ(kernel.input_gradients[0][3 * row + k], 0);
  }
  for (std::size_t row : {0u, 2u, 3u}) EXPECT_GE(kernel.output()[row], 0);
}

TEST(CrossEntropyKernel, all_rows_ignored_give_zero_gradient) {
  OneKernel kernel(cross_entropy({3}, {.ignore_index = 7}), 2);
  kernel.ids[1] = {7, 7};
  kernel.forward();
  kernel.backward();
  EXPECT_EQ(kernel.input_gradients[0], std::vector<double>(6, 0.0));
}

TEST(CrossEntropyKernel, label_out_of_range_is_a_data_fault_that_names_it) {
  for (std::int32_t label : {3, -1}) {
    OneKernel kernel(cross_entropy({3}, {}), 2);
    kernel.ids[1] = {0, label};
    try {
      kernel.forward();
      FAIL() << "label " << label << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::data);
      EXPECT_NE(std::string(error.what()).find(std::to_string(label)), std::string::npos);
    }
  }
}

TEST(EmbeddingKernel, token_out_of_range_is_a_data_fault) {
  OneKernel kernel(
      [](GraphBuilder& b) {
        b.predict(b.embedding(b.input({2}, Dtype::i32), "op", {.vocabulary = 4, .width = 2}, {}));
      },
      1);
  kernel.ids[0] = {1, 4};
  EXPECT_THROW(kernel.forward(), Error);
}

TEST(Accumulate, parameter_gradients_are_the_exact_sum_of_two_passes) {
  const BuildGraph build = [](GraphBuilder& b) {
    b.predict(b.conv2d(b.input({2, 4, 4}, Dtype::f32), "op", {.out_channels = 3}, {}));
  };
  OneKernel kernel(build, 2);
  kernel.forward();
  kernel.backward();
  const auto first = kernel.gradients;
  std::ranges::copy(random_values(kernel.inputs[0].size(), "second batch"), kernel.inputs[0].begin());
  kernel.forward();
  kernel.backward();
  const auto second = kernel.gradients;
  kernel.gradients = first;
  kernel.pass.accumulate = true;
  kernel.forward();
  kernel.backward();
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_EQ(kernel.gradients[i], first[i] + second[i]);
}

TEST(Attention, later_tokens_do_not_change_earlier_outputs) {
  OneKernel kernel(plain({5, 12}, CausalAttention{.heads = 2}), 1);
  kernel.forward();
  const auto before = kernel.output();
  for (std::size_t i = 3 * 12; i < 5 * 12; ++i) kernel.inputs[0][i] += 1;
  kernel.forward();
  for (std::size_t i = 0; i < 3 * 4; ++i) EXPECT_EQ(kernel.output()[i], before[i]);
  EXPECT_NE(kernel.output()[3 * 4], before[3 * 4]);
}

TEST(Resize, doubling_a_ramp_gives_the_quarter_points) {
  OneKernel kernel(plain({1, 1, 3}, Resize{2}), 1);
  kernel.inputs[0] = {0, 4, 8};
  kernel.forward();
  const std::vector<double> row{0, 1, 3, 5, 7, 8};
  for (std::size_t i = 0; i < 12; ++i) EXPECT_DOUBLE_EQ(kernel.output()[i], row[i % 6]);
}

TEST(ShortcutAKernel, subsamples_and_pads_both_sides) {
  OneKernel kernel(plain({1, 3, 3}, ShortcutA{.out_channels = 3, .stride = 2}), 1);
  kernel.inputs[0] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  kernel.forward();
  EXPECT_EQ(kernel.output(), std::vector<double>({0, 0, 0, 0, 1, 3, 7, 9, 0, 0, 0, 0}));
}

}  // namespace
}  // namespace lockstep::models::testing
