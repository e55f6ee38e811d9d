// Where a step of GPT-2 124M spends its time, for people: `test_models_cuda
// --gtest_also_run_disabled_tests --gtest_filter=Speed*`.
#include <cstdio>

#include "../model_support.h"
#include "gpu.h"
#include "models/bench_step.h"

namespace lockstep::models::testing {
namespace {

void print_step(bool tune) {
  const Graph graph = graph_of("gpt2", {{"size", "124M"}, {"dropout", "0"}}, tokens(1024, 50257), 32);
  const auto backend = make_backend("cuda", {.compute = Dtype::bf16, .tune = tune, .sum = {}});
  const StepBench bench =
      bench_step(graph, *backend, {.compute = Dtype::bf16, .rounds = 5, .repetitions = 2});
  std::printf("%s%.0f tokens/s without the update\n", table_of(bench).c_str(),
              32 * 1024 / (bench.forward_s + bench.backward_s));
}

TEST(Speed, DISABLED_gpt2_124m) {
  LOCKSTEP_NEEDS_GPU();
  print_step(false);
}
TEST(Speed, DISABLED_gpt2_124m_tuned) {
  LOCKSTEP_NEEDS_GPU();
  print_step(true);
}

}  // namespace
}  // namespace lockstep::models::testing
