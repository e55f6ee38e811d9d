// Every operation of the CPU backend against the reference in double: forward, the gradient of its input
// (seen through a layer before it), the gradients of its parameters, over one and over several microbatches.
// This file holds the promises and the refusals; the cases lie in op_cases_*.cpp.
#include "core/error.h"
#include "needs_cpu_backend.h"
#include "op_cases.h"

namespace lockstep::models::testing {

namespace {

class CpuOps : public ::testing::TestWithParam<OpCase> {};

TEST_P(CpuOps, agree_with_the_reference) {
  const OpCase& c = GetParam();
  const Graph graph = make_graph(c.build, c.microbatch);
  expect_agreement(graph, {}, c.tolerance);
  expect_agreement(graph, {.microbatches = 3, .fuse = false}, c.tolerance);
  expect_agreement(graph, {.mode = Mode::evaluate, .reuse_memory = false}, c.tolerance);
  expect_agreement(graph, {.rows = 1}, c.tolerance);
  expect_agreement(graph, {.microbatches = 2, .threads = 2}, c.tolerance);
}

TEST_P(CpuOps, agree_with_the_reference_in_bf16) {
  LOCKSTEP_NEEDS_BF16();
  const OpCase& c = GetParam();
  const Graph graph = make_graph(c.build, c.microbatch);
  expect_agreement(graph, {.compute = Dtype::bf16}, bf16_tolerance(c));
  expect_agreement(graph, {.microbatches = 3, .fuse = false, .compute = Dtype::bf16}, bf16_tolerance(c));
}

/// The agreement test can fail: another seed of dropout, another epsilon.
TEST(CpuTwin, different_dropout_masks_are_noticed) {
  const auto build = [](float rate) {
    return make_graph(
        [=](GraphBuilder& b) {
          b.predict(b.apply(Dropout{rate}, {sequence_behind_parameters(b, {8})}, "op"));
          b.loss(MeanSquaredError{});
        },
        3);
  };
  const RunResult one = run_backend(build(0.3F), {});
  const RunResult other = run_reference(build(0.4F), {});
  EXPECT_GT(relative_error(one.prediction, other.prediction), 1e-2);
}

TEST(CpuOpsErrors, label_out_of_range_is_refused_naming_it) {
  const Graph graph = make_graph(
      [](GraphBuilder& b) {
        b.predict(sequence_behind_parameters(b, {4}));
        b.loss(SoftmaxCrossEntropy{});
      },
      3);
  try {
    (void)run_backend(graph, {.ids = 1000});
    FAIL() << "a label beyond the classes was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::data);
    EXPECT_NE(std::string(error.what()).find("there are 4 classes"), std::string::npos) << error.what();
  }
}

TEST(CpuOpsErrors, token_out_of_range_is_refused_naming_the_node) {
  const Graph graph = make_graph(
      [](GraphBuilder& b) {
        const int x = b.embedding(b.input({6}, Dtype::i32), "tokens", {.vocabulary = 5, .width = 7}, {});
        b.predict(b.linear(x, "head", {.out_features = 2000}, {}));
        b.loss(SoftmaxCrossEntropy{});
      },
      3);
  try {
    (void)run_backend(graph, {.ids = 1000});
    FAIL() << "a token beyond the vocabulary was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::data);
    EXPECT_NE(std::string(error.what()).find("node 'tokens'"), std::string::npos) << error.what();
  }
}

TEST(CpuOpsErrors, linear_over_an_image_is_refused) {
  const Graph graph = make_graph(
      [](GraphBuilder& b) {
        b.predict(b.linear(b.input({3, 4, 5}, Dtype::f32), "op", {.out_features = 2}, {}));
        b.loss(MeanSquaredError{});
      },
      2);
  EXPECT_THROW((void)run_backend(graph, {}), Error);
}

INSTANTIATE_TEST_SUITE_P(convolution, CpuOps, ::testing::ValuesIn(convolution_cases()), name_of_case);
INSTANTIATE_TEST_SUITE_P(activation, CpuOps, ::testing::ValuesIn(activation_cases()), name_of_case);
INSTANTIATE_TEST_SUITE_P(pooling, CpuOps, ::testing::ValuesIn(pooling_cases()), name_of_case);
INSTANTIATE_TEST_SUITE_P(moving, CpuOps, ::testing::ValuesIn(moving_cases()), name_of_case);
INSTANTIATE_TEST_SUITE_P(loss, CpuOps, ::testing::ValuesIn(loss_cases()), name_of_case);
INSTANTIATE_TEST_SUITE_P(sequence, CpuOps, ::testing::ValuesIn(sequence_cases()), name_of_case);

}  // namespace
}  // namespace lockstep::models::testing
