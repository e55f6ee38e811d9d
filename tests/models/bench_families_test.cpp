// The pieces of a step: every kernel is in one family, the sums fit the graph, and the floor is made of them.
#include "models/bench_families.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/vector/vector.h"
#include "model_support.h"
#include "needs_cpu_backend.h"

namespace lockstep::models {
namespace {

StepBench measure(const Graph& graph, StepBenchOptions options) {
  const auto backend = make_backend("cpu", {});  // the peak alone would take the reference seconds
  options.rounds = options.repetitions = 1;
  return bench_step(graph, *backend, options);
}

Graph small_gpt() {
  const Given gpt{{"layers", "2"}, {"heads", "1"}, {"width", "8"}};
  return graph_of("gpt2", gpt, tokens(6, 7), 2);
}

double sum(const StepPieces& pieces, double FamilyTime::*part) {
  double total = 0;
  for (const FamilyTime& family : pieces.families) total += family.*part;
  return total;
}

class StepPiecesTest : public NeedsCpuBackend {};

TEST_F(StepPiecesTest, every_kernel_is_in_the_family_of_its_operations) {
  const StepBench bench = measure(small_gpt(), {.sustain_s = 1e-4});
  int kernels = 0;
  for (const FamilyTime& family : bench.pieces.families) {
    int same = 0;
    for (const KernelTime& each : bench.kernels) same += each.node.op == family.operations ? 1 : 0;
    EXPECT_EQ(family.kernels, same) << family.operations;
    EXPECT_GT(family.seconds, 0) << family.operations;
    EXPECT_EQ(family.products, family.operations.find("linear") == 0 ||
                                   family.operations.find("tied_linear") == 0 ||
                                   family.operations.find("causal_attention") == 0)
        << family.operations;
    kernels += family.kernels;
  }
  EXPECT_EQ(kernels, static_cast<int>(bench.kernels.size()));
  EXPECT_DOUBLE_EQ(sum(bench.pieces, &FamilyTime::flops), bench.step_flops);
  EXPECT_GT(bench.pieces.products_s, 0);
  EXPECT_GT(bench.pieces.kernels_s, 0);
  EXPECT_GT(bench.pieces.copy_bytes_per_s, 1e6);
}

TEST_F(StepPiecesTest, update_is_run_alone_when_there_is_one) {
  int calls = 0;
  const StepUpdate update = [&](ParameterStore& store, Stream& stream) {
    ++calls;
    vector::fill(store.gradients(), 0.0F, stream);
  };
  EXPECT_EQ(measure(small_gpt(), {.sustain_s = 1e-4}).pieces.update_s, 0);
  const StepBench with = measure(small_gpt(), {.sustain_s = 1e-4, .update = update});
  EXPECT_GT(with.pieces.update_s, 0);
  EXPECT_GT(calls, 3);
}

TEST_F(StepPiecesTest, nothing_is_measured_unless_asked_for) {
  const StepBench bench = measure(small_gpt(), {});
  EXPECT_TRUE(bench.pieces.families.empty());
  EXPECT_EQ(table_of_pieces(bench), "");
  EXPECT_FALSE(nlohmann::json::parse(json_of(bench)).contains("pieces"));
}

/// 10 TFLOP/s and 1 TB/s: 20 GFLOP of products that took 4 ms, and 3 GB of norms that took 5 ms.
StepBench made_up() {
  StepBench bench;
  bench.peak_flops_per_s = 10e12;
  bench.step_s = 0.010;
  bench.pieces = {
      .families = {{"layer_norm", 5, 5e-3, 1e6, 3e9, false}, {"linear", 2, 4e-3, 20e9, 1e9, true}},
      .kernels_s = 9e-3,
      .products_s = 3.9e-3,
      .update_s = 1e-3,
      .copy_bytes_per_s = 1e12};
  return bench;
}

TEST(StepPieces, a_fused_kernel_is_of_the_kind_of_its_first_operation) {
  EXPECT_EQ(kind_of("conv2d"), OpKind::convolution);
  EXPECT_EQ(kind_of("conv2d+add+relu"), OpKind::convolution);
  EXPECT_EQ(kind_of("linear+gelu+linear+add"), OpKind::product);
  EXPECT_EQ(kind_of("batch_norm+relu"), OpKind::norm);
  EXPECT_EQ(kind_of("causal_attention"), OpKind::attention);
  EXPECT_EQ(kind_of("add+linear"), OpKind::other);
}

TEST(StepPieces, floor_takes_products_as_they_ran_and_the_rest_at_the_rate_of_a_copy) {
  const StepBench bench = made_up();
  EXPECT_DOUBLE_EQ(floor_of(bench.pieces), 3.9e-3 + 3e-3 + 1e-3);
  EXPECT_DOUBLE_EQ(ceiling_of(bench.pieces.families[0], bench), 3e-3);
  EXPECT_DOUBLE_EQ(ceiling_of(bench.pieces.families[1], bench), 2e-3);
}

TEST(StepPieces, table_and_json_tell_them) {
  const StepBench bench = made_up();
  const std::string table = table_of(bench);
  for (const char* part : {"layer_norm", "60.0", "50.0", "in one piece 3.900 ms, all kernels 9.000 ms",
                           "a copy moves 1000 GB/s", "floor of the step 7.900 ms"})
    EXPECT_NE(table.find(part), std::string::npos) << part << " in\n" << table;
  const auto pieces = nlohmann::json::parse(json_of(bench)).at("pieces");
  EXPECT_DOUBLE_EQ(pieces.at("floor_ms").get<double>(), 7.9);
  EXPECT_EQ(pieces.at("families").at(1).at("operations"), "linear");
  EXPECT_DOUBLE_EQ(pieces.at("families").at(1).at("least_ms").get<double>(), 2);
}

}  // namespace
}  // namespace lockstep::models
