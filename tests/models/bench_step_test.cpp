// The measurement of a step: its figures fit each other and the graph, in the structure, the table and the
// JSON.
#include "models/bench_step.h"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/error.h"
#include "core/vector/vector.h"
#include "model_support.h"
#include "needs_cpu_backend.h"

namespace lockstep::models {
namespace {

const Graph& small_cnn() {
  static const Graph graph =
      graph_of("cnn", {{"channels", "[8]"}, {"convolutions", "2"}}, images({3, 16, 16}, 5), 4);
  return graph;
}

/// On the cpu backend: the peak alone would take the reference seconds.
StepBench measure(const Graph& graph, StepBenchOptions options = {}, int rounds = 3) {
  const auto backend = make_backend("cpu", {});
  options.rounds = rounds;
  options.repetitions = 2;
  return bench_step(graph, *backend, options);
}

/// One operation of one kind before the loss: which sums it may go into is known.
Graph one_of(const std::function<int(GraphBuilder&, int)>& operation) {
  GraphBuilder builder(2);
  builder.predict(operation(builder, builder.input({4, 6, 6}, Dtype::f32)));
  builder.loss(MeanSquaredError{});
  return std::move(builder).finish();
}

double flops_of(const StepBench& bench) {
  double sum = 0;
  for (const KernelTime& each : bench.kernels)
    sum += each.node.work.forward_flops + each.node.work.backward_flops;
  return sum;
}

class StepBenchTest : public NeedsCpuBackend {};

TEST_F(StepBenchTest, has_a_line_per_kernel_in_the_graphs_order) {
  const StepBench bench = measure(small_cnn(), {.fuse = false});
  ASSERT_EQ(bench.kernels.size(), small_cnn().nodes().size());
  for (std::size_t i = 0; i < bench.kernels.size(); ++i) {
    EXPECT_EQ(bench.kernels[i].node.name, small_cnn().nodes()[i].name);
    EXPECT_GE(bench.kernels[i].forward_s, 0);
    EXPECT_GE(bench.kernels[i].backward_s, 0);
  }
}

TEST_F(StepBenchTest, median_lies_within_the_range_and_one_round_is_the_sum_of_its_parts) {
  const StepBench three = measure(small_cnn());
  EXPECT_LE(three.step_min_s, three.step_s);
  EXPECT_GE(three.step_max_s, three.step_s);
  const StepBench one = measure(small_cnn(), {}, 1);
  EXPECT_EQ(one.step_min_s, one.step_s);
  EXPECT_EQ(one.step_max_s, one.step_s);
  EXPECT_EQ(one.step_s, one.forward_s + one.backward_s + one.update_s);
}

TEST_F(StepBenchTest, fused_kernels_are_fewer_and_count_the_same_operations) {
  const StepBench fused = measure(small_cnn()), single = measure(small_cnn(), {.fuse = false});
  EXPECT_LT(fused.kernels.size(), single.kernels.size());
  EXPECT_DOUBLE_EQ(fused.step_flops, single.step_flops);
}

TEST_F(StepBenchTest, counts_the_operations_of_the_graph_and_the_rate_they_give) {
  const StepBench bench = measure(small_cnn());
  EXPECT_EQ(bench.step_flops, flops_of(bench));
  EXPECT_DOUBLE_EQ(bench.flops_per_s(), bench.step_flops / bench.step_s);
  EXPECT_GT(bench.peak_flops_per_s, 1e6);
  // 2 convolutions of 3x3 and a small head: more than nine tenths of all
  const double conv = 2.0 * 4 * 8 * 256 * (27 + 72);
  EXPECT_GT(bench.step_flops, 2 * conv);
  EXPECT_LT(bench.step_flops, 4 * conv);
}

TEST_F(StepBenchTest, sums_each_kind_from_the_kernels_that_are_of_it) {
  struct Case {
    const char* what;
    Graph graph;
    bool convolutions, products, norms;
  };
  const Init small = Init::normal(0.1F);
  const auto conv = [&](GraphBuilder& b, int x) { return b.conv2d(x, "c", {.out_channels = 3}, small); };
  const auto up = [&](GraphBuilder& b, int x) {
    return b.conv_transpose2d(x, "u", {.out_channels = 3}, small);
  };
  const auto norm = [](GraphBuilder& b, int x) { return b.batch_norm(x, "n", {}); };
  const auto rectified = [](GraphBuilder& b, int x) { return b.apply(Relu{}, {x}, "r"); };
  const Given gpt{{"layers", "1"}, {"heads", "1"}, {"width", "8"}};
  for (const Case& each :
       {Case{"conv2d", one_of(conv), true, false, false},
        Case{"conv_transpose2d", one_of(up), true, false, false},
        Case{"batch_norm", one_of(norm), false, false, true},
        Case{"relu", one_of(rectified), false, false, false},
        Case{"mlp", graph_of("mlp", {{"hidden", "[16]"}}, images({1, 4, 4}, 3), 8), false, true, false},
        Case{"cnn", small_cnn(), true, true, true},
        Case{"gpt2", graph_of("gpt2", gpt, tokens(6, 7), 2), false, true, true}}) {
    const StepBench bench = measure(each.graph, {}, 1);
    EXPECT_EQ(bench.convolutions_s > 0, each.convolutions) << each.what;
    EXPECT_EQ(bench.products_s > 0, each.products) << each.what;
    EXPECT_EQ(bench.norms_s > 0, each.norms) << each.what;
    // Of one round the median of the ratios is the ratio of the medians.
    const double alone = bench.convolutions_s + bench.products_s + bench.norms_s;
    if (alone == 0) continue;
    EXPECT_NEAR(bench.ratio, bench.step_s / alone, 1e-9 * bench.ratio) << each.what;
  }
}

TEST_F(StepBenchTest, update_is_part_of_the_step_and_runs_on_the_stores_arrays) {
  std::int64_t calls = 0, count = 0;
  const StepUpdate update = [&](ParameterStore& store, Stream& stream) {
    ++calls;
    count = store.layout().canonical_count();
    vector::fill(store.gradients(), 0.0f, stream);
  };
  const StepBench with = measure(small_cnn(), {.update = update});
  EXPECT_GT(with.update_s, 0);
  EXPECT_EQ(calls, 3 * 2);
  EXPECT_EQ(count, parameters_of(small_cnn()));
}

TEST_F(StepBenchTest, work_that_fails_is_told) {
  const StepUpdate update = [](ParameterStore& /*store*/, Stream& stream) {
    stream.host([] { throw Error(Fault::device, "the device is gone"); });
  };
  try {
    static_cast<void>(measure(small_cnn(), {.update = update}));
    FAIL() << "measured";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "the device is gone");
  }
}

TEST_F(StepBenchTest, processor_time_is_no_more_than_about_the_wall_time) {
  const StepBench bench = measure(small_cnn(), {.processor_time = true});
  EXPECT_GT(bench.step_s, 0);
  EXPECT_LT(bench.step_s, 5);
}

TEST_F(StepBenchTest, graph_without_a_loss_is_refused_with_the_cure) {
  const Graph graph = build_graph(*make_model("mlp"), images({1, 4, 4}, 3), 2, nullptr);
  try {
    static_cast<void>(measure(graph));
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_NE(error.hint().find("loss.name"), std::string::npos);
  }
}

TEST(StepReport, json_and_table_say_what_was_measured) {
  StepBench bench;
  bench.peak_flops_per_s = 100e9;
  bench.step_s = 0.010;
  bench.step_min_s = 0.009;
  bench.step_max_s = 0.012;
  bench.forward_s = 0.003;
  bench.backward_s = 0.006;
  bench.update_s = 0.001;
  bench.convolutions_s = 0.005;
  bench.products_s = 0.002;
  bench.norms_s = 0.001;
  bench.ratio = 1.25;
  bench.step_flops = 5e8;
  KernelTime kernel;
  kernel.node.name = "conv1";
  kernel.node.op = "conv2d+relu";
  kernel.node.work = {2e8, 3e8, 0, 0};
  kernel.forward_s = 0.002;
  bench.kernels.push_back(kernel);
  const auto json = nlohmann::json::parse(json_of(bench));
  EXPECT_DOUBLE_EQ(json.at("step_ms").at("median").get<double>(), 10);
  EXPECT_DOUBLE_EQ(json.at("step_ms").at("min").get<double>(), 9);
  EXPECT_DOUBLE_EQ(json.at("step_ms").at("max").get<double>(), 12);
  EXPECT_DOUBLE_EQ(json.at("ratio").get<double>(), 1.25);
  EXPECT_DOUBLE_EQ(json.at("gflop_per_s").get<double>(), 50);
  EXPECT_EQ(json.at("kernels").at(0).at("operations"), "conv2d+relu");
  EXPECT_DOUBLE_EQ(json.at("kernels").at(0).at("forward_ms").get<double>(), 2);
  const std::string table = table_of(bench);
  for (const char* part : {"conv1", "conv2d+relu", "20.0", "100.0", "step 10.000 ms", "= 1.250",
                           "achieved 50.0 GFLOP/s, 50 % of the measured", "9.000 to 12.000"})
    EXPECT_NE(table.find(part), std::string::npos) << part << " in\n" << table;
  EXPECT_NE(table.find(" -"), std::string::npos) << "no rate without time";
}

TEST(StepReport, columns_stay_in_line_under_names_of_any_length) {
  for (const auto& [name, op] : {std::pair{std::string(61, 'n'), std::string("relu")},
                                 {"relu", std::string(47, 'o')},
                                 {"conv1", "conv2d"}}) {
    StepBench bench;
    bench.step_s = bench.peak_flops_per_s = 1;
    for (const auto& [node, operation] : {std::pair{name, op}, {"last", "linear"}}) {
      bench.kernels.emplace_back();
      bench.kernels.back().node.name = node;
      bench.kernels.back().node.op = operation;
    }
    std::istringstream lines(table_of(bench));
    std::string head, units, first, second;
    for (std::string* line : {&head, &units, &first, &second}) std::getline(lines, *line);
    for (const std::string& line : {units, first, second}) EXPECT_EQ(line.size(), head.size()) << line;
    EXPECT_EQ(first.find(" " + op + " ") + 1, head.find("operations")) << head << "\n" << first;
    EXPECT_EQ(second.find(" linear ") + 1, head.find("operations")) << head << "\n" << second;
  }
}

}  // namespace
}  // namespace lockstep::models
