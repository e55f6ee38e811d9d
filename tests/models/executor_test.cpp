// The executor's promises: gradients of whole graphs, sums over passes, completion order, evaluation,
// reports.
#include "models/executor.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "whole_graph.h"

namespace lockstep::models::testing {
namespace {

class AnyGraph : public ::testing::TestWithParam<NamedGraph> {};
INSTANTIATE_TEST_SUITE_P(Executor, AnyGraph, ::testing::ValuesIn(named_graphs()),
                         [](const auto& each) { return each.param.name; });

double slope(WholeGraph& whole, double& number) {
  constexpr double kStep = 1e-6;
  const double before = number;
  number = before + kStep;
  const double above = whole.forward();
  number = before - kStep;
  const double below = whole.forward();
  number = before;
  return (above - below) / (2 * kStep);
}

/// Largest error over a few elements of every slot.
double worst_slot_error(WholeGraph& whole, const std::vector<double>& gradients) {
  double worst = 0;
  for (const Slot& slot : whole.executor().parameter_layout().slots()) {
    const std::int64_t stride = std::max<std::int64_t>(1, slot.shape.count() / 12);
    for (std::int64_t i = 0; i < slot.shape.count(); i += stride) {
      const auto at = static_cast<std::size_t>(slot.offset + i);
      const double wanted = slope(whole, whole.values[at]);
      worst = std::max(worst, std::abs(gradients[at] - wanted) / (1 + std::abs(wanted)));
    }
  }
  return worst;
}

TEST_P(AnyGraph, parameter_gradients_match_finite_differences) {
  WholeGraph whole(GetParam().make());
  whole.forward();
  whole.backward();
  auto gradients = whole.gradients;
  EXPECT_LT(worst_slot_error(whole, gradients), 1e-7);
  gradients[static_cast<std::size_t>(whole.executor().parameter_layout().slots().back().offset)] += 1e-5;
  EXPECT_GT(worst_slot_error(whole, gradients), 1e-7) << "the check must see a wrong gradient";
}

TEST_P(AnyGraph, memory_reuse_does_not_change_a_bit_and_saves_memory) {
  WholeGraph reusing(GetParam().make());
  WholeGraph separate(GetParam().make(), {.reuse_memory = false});
  EXPECT_EQ(reusing.forward(), separate.forward());
  reusing.backward();
  separate.backward();
  EXPECT_EQ(reusing.gradients, separate.gradients);
  EXPECT_EQ(reusing.statistics, separate.statistics);
  EXPECT_LT(reusing.executor().arena_bytes(), separate.executor().arena_bytes());
}

TEST_P(AnyGraph, accumulating_two_passes_gives_their_sum) {
  WholeGraph whole(GetParam().make());
  whole.forward();
  whole.backward();
  const auto first = whole.gradients;
  const auto first_statistics = whole.statistics;
  for (double& number : whole.input) number = -2 * number;
  std::reverse(whole.input_ids.begin(), whole.input_ids.end());
  whole.forward();
  whole.backward();
  const auto second = whole.gradients;
  const auto second_statistics = whole.statistics;
  whole.gradients = first;
  whole.statistics = first_statistics;
  whole.pass.accumulate = true;
  whole.forward();
  whole.backward();
  for (std::size_t i = 0; i < first.size(); ++i) {
    EXPECT_NEAR(whole.gradients[i], first[i] + second[i], 1e-13 * (1 + std::abs(first[i])));
  }
  for (std::size_t i = 0; i < first_statistics.size(); ++i) {
    EXPECT_EQ(whole.statistics[i], first_statistics[i] + second_statistics[i]);
  }
}

TEST_P(AnyGraph, hook_counts_slots_whose_gradients_no_longer_change) {
  WholeGraph whole(GetParam().make());
  whole.forward();
  const auto slots = whole.executor().parameter_layout().slots();
  std::vector<int> counts;
  std::vector<std::vector<double>> snapshots;
  whole.backward([&](int count) {
    counts.push_back(count);
    whole.stream().host([&] { snapshots.push_back(whole.gradients); });
  });
  ASSERT_FALSE(counts.empty());
  EXPECT_TRUE(std::is_sorted(counts.begin(), counts.end()));
  EXPECT_EQ(counts.back(), static_cast<int>(slots.size()));
  EXPECT_LT(counts.front(), counts.back());
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const Slot& last = slots[static_cast<std::size_t>(counts[i] - 1)];
    const auto end = last.offset + last.stored_count;
    EXPECT_TRUE(std::equal(snapshots[i].begin(), snapshots[i].begin() + end, whole.gradients.begin()));
  }
}

TEST_P(AnyGraph, evaluation_executor_gives_the_same_loss_and_layout_with_less_memory) {
  WholeGraph training(GetParam().make());
  WholeGraph evaluating(GetParam().make(), {.training = false});
  training.pass.mode = evaluating.pass.mode = Mode::evaluate;
  EXPECT_EQ(training.forward(), evaluating.forward());
  EXPECT_LT(evaluating.executor().arena_bytes(), training.executor().arena_bytes());
  EXPECT_THROW(evaluating.backward(), Error);
  const auto some = training.executor().parameter_layout().slots();
  const auto same = evaluating.executor().parameter_layout().slots();
  ASSERT_EQ(some.size(), same.size());
  for (std::size_t i = 0; i < some.size(); ++i) EXPECT_EQ(some[i].name, same[i].name);
}

TEST_P(AnyGraph, report_covers_every_parameter_and_counts_work) {
  WholeGraph whole(GetParam().make());
  std::int64_t parameters = 0;
  double flops = 0;
  for (const NodeReport& line : whole.executor().report()) {
    parameters += line.parameters;
    flops += line.work.forward_flops;
    EXPECT_GT(line.work.forward_bytes, 0) << line.name;
  }
  EXPECT_EQ(parameters, whole.executor().parameter_layout().canonical_count());
  EXPECT_GT(flops, 0);
  EXPECT_EQ(whole.executor().kernels(), static_cast<int>(whole.executor().report().size()));
}

TEST_P(AnyGraph, single_kernels_can_be_run_again_after_a_whole_pass) {
  WholeGraph whole(GetParam().make(), {.reuse_memory = false});
  const double loss = whole.forward();
  whole.backward();
  const auto gradients = whole.gradients;
  for (int kernel = 0; kernel < whole.executor().kernels(); ++kernel) {
    whole.executor().run_kernel(kernel, false, whole.pass, whole.stream());
    whole.executor().run_kernel(kernel, true, whole.pass, whole.stream());
  }
  whole.stream().synchronize();
  EXPECT_EQ(whole.forward(), loss);
  whole.backward();
  EXPECT_EQ(whole.gradients, gradients);
  WholeGraph reusing(GetParam().make());
  EXPECT_THROW(reusing.executor().run_kernel(0, false, reusing.pass, reusing.stream()), Error);
}

TEST(Executor, tied_slot_lies_last_and_later_layers_lie_first) {
  WholeGraph whole(tied_graph());
  const auto slots = whole.executor().parameter_layout().slots();
  EXPECT_EQ(slots.front().name, "proj.weight");
  EXPECT_EQ(slots.back().name, "tokens.weight");
  EXPECT_EQ(slots[slots.size() - 2].name, "positions.weight");
}

TEST(Executor, padded_rows_count_in_neither_loss_nor_gradient) {
  WholeGraph whole(tied_graph(4, 0));
  WholeGraph half(tied_graph(2, 0));
  std::copy_n(whole.input_ids.begin(), half.input_ids.size(), half.input_ids.begin());
  std::copy_n(whole.target_ids.begin(), half.target_ids.size(), half.target_ids.begin());
  whole.pass.rows = 2;
  EXPECT_NEAR(whole.forward(), half.forward(), 1e-14);
  float sum = 3;
  whole.executor().add_loss(&sum, whole.stream());
  whole.backward();
  half.backward();
  EXPECT_FLOAT_EQ(sum, 3 + static_cast<float>(half.forward()));
  for (std::size_t i = 0; i < half.gradients.size(); ++i) {
    EXPECT_NEAR(whole.gradients[i], half.gradients[i], 1e-13);
  }
}

TEST(Executor, splitting_a_batch_into_microbatches_keeps_dropout_masks) {
  WholeGraph whole(tied_graph(4));
  WholeGraph half(tied_graph(2));
  whole.pass.seed = half.pass.seed = 9;
  whole.pass.first_sample = 100;
  whole.forward();
  for (std::size_t part = 0; part < 2; ++part) {
    std::copy_n(whole.input_ids.begin() + static_cast<std::ptrdiff_t>(part * 8), 8, half.input_ids.begin());
    std::copy_n(whole.target_ids.begin() + static_cast<std::ptrdiff_t>(part * 8), 8, half.target_ids.begin());
    half.pass.first_sample = 100 + 2 * static_cast<std::int64_t>(part);
    half.forward();
    for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(half.losses[i], whole.losses[part * 8 + i]);
  }
  half.pass.first_sample = 101;
  half.forward();
  EXPECT_NE(half.losses[0], whole.losses[8]) << "another sample number must drop other elements";
}

TEST(Executor, graph_without_loss_predicts) {
  WholeGraph whole(make_graph(
      [](GraphBuilder& b) {
        b.predict(b.linear(b.apply(Flatten{}, {b.input({2, 3}, Dtype::f32)}, "flat"), "fc",
                           {.out_features = 2}, {}));
      },
      3));
  whole.forward();
  std::vector<double> prediction(6);
  whole.executor().read_prediction(prediction.data(), whole.stream());
  whole.stream().synchronize();
  const Slot* weight = whole.executor().parameter_layout().find("fc.weight");
  const Slot* bias = whole.executor().parameter_layout().find("fc.bias");
  ASSERT_TRUE(weight != nullptr && bias != nullptr);
  for (std::size_t out = 0; out < 2; ++out) {
    double sum = whole.values[static_cast<std::size_t>(bias->offset) + out];
    for (std::size_t i = 0; i < 6; ++i) {
      sum += whole.input[6 + i] * whole.values[static_cast<std::size_t>(weight->offset) + 6 * out + i];
    }
    EXPECT_NEAR(prediction[2 + out], sum, 1e-13);
  }
  float loss = 0;
  EXPECT_THROW(whole.executor().add_loss(&loss, whole.stream()), Error);
}

TEST(Executor, parameter_that_cannot_learn_is_refused_by_name) {
  const auto build = [](GraphBuilder& b) {
    const int x = b.input({4}, Dtype::f32);
    static_cast<void>(b.linear(x, "idle", {.out_features = 2}, {}));
    b.predict(b.linear(x, "used", {.out_features = 2}, {}));
    b.loss(SoftmaxCrossEntropy{});
  };
  try {
    WholeGraph whole(make_graph(build, 2));
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_NE(std::string(error.what()).find("idle.weight"), std::string::npos);
  }
}

TEST(Executor, layers_before_the_first_parameter_need_no_backward) {
  const auto build = [](GraphBuilder& b) {
    const int x = b.apply(AveragePool{}, {b.input({1, 4, 4}, Dtype::f32)}, "pool");
    b.predict(b.linear(b.apply(Flatten{}, {x}, "flat"), "fc", {.out_features = 5}, {}));
    b.loss(SoftmaxCrossEntropy{});
  };
  WholeGraph whole(make_graph(build, 2));
  whole.forward();
  whole.backward();
  EXPECT_LT(worst_slot_error(whole, std::vector<double>(whole.gradients)), 1e-7);
}

TEST(Initialise, values_depend_on_seed_and_slot_name_and_follow_the_spec) {
  const auto build = [](GraphBuilder& b) {
    int x = b.linear(b.input({50}, Dtype::f32), "a", {.out_features = 400}, Init::normal(0.5f),
                     Init::uniform(0.1f));
    x = b.batch_norm(x, "norm", {}, Init::constant(0));
    b.predict(b.linear(x, "b", {.out_features = 50}, Init::normal(0.5f)));
  };
  const Graph graph = make_graph(build, 2);
  const auto backend = make_backend("reference", {});
  const auto executor = make_executor(graph, *backend);
  ParameterStore store(executor->parameter_layout(), executor->state_layout(), Device{});
  initialise(graph, 7, store);
  const auto a = store.read("a.weight");
  double square = 0;
  for (float value : a) square += static_cast<double>(value) * static_cast<double>(value);
  EXPECT_NEAR(std::sqrt(square / static_cast<double>(a.size())), 0.5, 0.01);
  EXPECT_NE(a, store.read("b.weight"));
  for (float value : store.read("a.bias")) EXPECT_LE(std::abs(value), 0.1f);
  EXPECT_EQ(store.read("b.bias"), std::vector<float>(50, 0.f));
  EXPECT_EQ(store.read("norm.weight"), std::vector<float>(400, 0.f));
  EXPECT_EQ(store.read("norm.running_var"), std::vector<float>(400, 1.f));
  EXPECT_EQ(store.read("norm.running_mean"), std::vector<float>(400, 0.f));
  const auto hash = store.parameter_hash();
  initialise(graph, 8, store);
  EXPECT_NE(store.parameter_hash(), hash);
  initialise(graph, 7, store);
  EXPECT_EQ(store.parameter_hash(), hash);
}

TEST(Backends, unknown_name_is_refused_with_the_known_ones) {
  try {
    static_cast<void>(make_backend("gpu", {}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.hint().find("reference"), std::string::npos);
  }
  EXPECT_GE(backend_names().size(), 2u);
  BackendOptions bf16;
  bf16.compute = Dtype::bf16;
  EXPECT_THROW(static_cast<void>(make_backend("reference", bf16)), Error);
}

}  // namespace
}  // namespace lockstep::models::testing
