// Which chains are offered to a backend, one test per pattern: a chain is offered exactly when nothing but
// the chain reads what lies inside it; and which of them the CPU backend takes.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/error.h"
#include "models/executor.h"
#include "models/fusion.h"
#include "models/ops/reference/backend.h"

namespace lockstep::models {
namespace {

using Ops = std::vector<std::string>;

std::string joined(const Ops& ops) {
  std::string text;
  for (const std::string& op : ops) text += (text.empty() ? "" : "+") + op;
  return text;
}

/// Takes nothing and notes every offer.
class Listening final : public Backend {
 public:
  std::string_view name() const noexcept override { return "listening"; }
  Device device() const noexcept override { return {}; }
  std::unique_ptr<Kernel> make(const KernelRequest& request) override {
    if (request.fused.empty()) return inner_->make(request);
    Ops ops{op_name(request.node->spec)};
    for (const Node* node : request.fused) ops.emplace_back(op_name(node->spec));
    offers.insert(joined(ops));
    return nullptr;
  }
  void upload(const void*, const TensorLayout&, void*, Stream&) override {}
  void download(const void*, const TensorLayout&, void*, Stream&) override {}
  std::set<std::string> offers;

 private:
  std::unique_ptr<Backend> inner_ = make_reference_backend<float>({});
};

/// What happens to the value between the first operation of the chain and the next.
enum class Inner { read_once, read_twice, predicted };

/// Adds one operation to x; `other` has the same shape where a sum needs it.
int append(GraphBuilder& b, const std::string& op, int x, int other, const std::string& name) {
  if (op == "conv2d") return b.conv2d(x, name, {.out_channels = 4, .padding = {1, 1}}, {});
  if (op == "conv_transpose2d")
    return b.conv_transpose2d(x, name,
                              {.out_channels = 4, .kernel = {3, 3}, .stride = {1, 1}, .padding = {1, 1}}, {});
  if (op == "batch_norm") return b.batch_norm(x, name, {});
  if (op == "layer_norm") return b.layer_norm(x, name);
  if (op == "linear") return b.linear(x, name, {.out_features = 4}, {});
  if (op == "relu") return b.apply(Relu{}, {x}, name);
  if (op == "leaky_relu") return b.apply(LeakyRelu{}, {x}, name);
  if (op == "gelu") return b.apply(Gelu{}, {x}, name);
  if (op == "dropout") return b.apply(Dropout{0.5f}, {x}, name);
  return b.apply(Add{}, {x, other}, name);
}

bool on_rows(const Ops& ops) {
  return std::ranges::any_of(ops, [](const std::string& op) { return op == "linear" || op == "layer_norm"; });
}

/// A graph with the chain in the middle.
Graph chain_graph(const Ops& ops, Inner inner) {
  GraphBuilder b(2);
  const int input = b.input(on_rows(ops) ? Shape{4} : Shape{4, 5, 5}, Dtype::f32);
  const int start = b.apply(Gelu{}, {input}, "start");
  const int other = b.apply(Gelu{}, {input}, "other");
  int x = append(b, ops[0], start, other, "first");
  const int first = x;
  for (std::size_t i = 1; i < ops.size(); ++i) x = append(b, ops[i], x, other, ops[i] + std::to_string(i));
  if (inner == Inner::read_twice) x = b.apply(Add{}, {b.apply(Gelu{}, {x}, "after"), first}, "again");
  b.predict(inner == Inner::predicted ? first : b.apply(Gelu{}, {x}, "end"));
  return std::move(b).finish();
}

std::set<std::string> offers(const Ops& ops, Inner inner, bool fuse = true) {
  Listening backend;
  static_cast<void>(make_units(chain_graph(ops, inner), backend, {.fuse = fuse, .training = false}));
  return backend.offers;
}

const std::vector<Ops>& patterns() {
  static const std::vector<Ops> all{{"linear", "gelu", "linear", "add"},
                                    {"linear", "gelu", "linear"},
                                    {"batch_norm", "add", "relu"},
                                    {"linear", "dropout", "add"},
                                    {"conv2d", "add", "relu"},
                                    {"batch_norm", "relu"},
                                    {"batch_norm", "leaky_relu"},
                                    {"batch_norm", "add"},
                                    {"conv2d", "relu"},
                                    {"conv2d", "leaky_relu"},
                                    {"conv2d", "gelu"},
                                    {"conv2d", "add"},
                                    {"conv_transpose2d", "relu"},
                                    {"linear", "relu"},
                                    {"linear", "leaky_relu"},
                                    {"linear", "gelu"},
                                    {"linear", "dropout"},
                                    {"linear", "add"},
                                    {"dropout", "add"},
                                    {"add", "relu"},
                                    {"add", "layer_norm"}};
  return all;
}

class Pattern : public testing::TestWithParam<Ops> {};
INSTANTIATE_TEST_SUITE_P(Fusion, Pattern, testing::ValuesIn(patterns()), [](const auto& each) {
  std::string name = joined(each.param);
  std::ranges::replace(name, '+', '_');
  return name;
});

TEST_P(Pattern, is_offered_whole) {
  EXPECT_TRUE(offers(GetParam(), Inner::read_once).contains(joined(GetParam())));
}

TEST_P(Pattern, is_not_offered_when_an_inner_value_is_read_elsewhere) {
  EXPECT_FALSE(offers(GetParam(), Inner::read_twice).contains(joined(GetParam())));
}

TEST_P(Pattern, is_not_offered_when_an_inner_value_is_the_prediction) {
  EXPECT_FALSE(offers(GetParam(), Inner::predicted).contains(joined(GetParam())));
}

TEST_P(Pattern, is_not_offered_when_fusion_is_off) {
  EXPECT_TRUE(offers(GetParam(), Inner::read_once, false).empty());
}

TEST(Fusion, what_is_no_pattern_is_never_offered) {
  for (const Ops& ops :
       {Ops{"relu", "add"}, Ops{"layer_norm", "linear"}, Ops{"conv2d", "batch_norm"}, Ops{"gelu", "dropout"},
        Ops{"batch_norm", "gelu"}, Ops{"conv_transpose2d", "leaky_relu"}, Ops{"dropout", "relu"}})
    EXPECT_FALSE(offers(ops, Inner::read_once).contains(joined(ops))) << joined(ops);
}

TEST(Fusion, residual_is_found_on_either_side_of_the_sum) {
  for (const bool norm_first : {true, false}) {
    GraphBuilder b(2);
    const int x = b.apply(Gelu{}, {b.input({4, 5, 5}, Dtype::f32)}, "start");
    const int y = b.batch_norm(x, "norm", {});
    const int sum = b.apply(Add{}, norm_first ? std::vector{y, x} : std::vector{x, y}, "sum");
    b.predict(b.apply(Gelu{}, {b.apply(Relu{}, {sum}, "relu")}, "end"));
    Listening backend;
    static_cast<void>(make_units(std::move(b).finish(), backend, {.training = false}));
    EXPECT_TRUE(backend.offers.contains("batch_norm+add+relu")) << norm_first;
  }
}

TEST(Fusion, sum_of_a_value_with_itself_stays_alone) {
  GraphBuilder b(2);
  const int x = b.linear(b.input({4}, Dtype::f32), "fc", {.out_features = 4}, {});
  b.predict(b.apply(Gelu{}, {b.apply(Add{}, {x, x}, "sum")}, "end"));
  Listening backend;
  static_cast<void>(make_units(std::move(b).finish(), backend, {.training = false}));
  EXPECT_FALSE(backend.offers.contains("linear+add"));
}

/// What the CPU backend runs as one kernel: everything else runs node by node.
TEST(CpuFusion, takes_activations_and_residuals_into_products_and_norms) {
  std::unique_ptr<Backend> backend;
  try {
    backend = make_backend("cpu", {});
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  const std::set<std::string> taken{
      "batch_norm+add+relu",   "batch_norm+relu", "batch_norm+add",    "conv2d+relu", "conv2d+leaky_relu",
      "conv_transpose2d+relu", "linear+relu",     "linear+leaky_relu", "linear+gelu", "linear+add"};
  for (const Ops& ops : patterns()) {
    const Graph graph = chain_graph(ops, Inner::read_once);
    std::set<std::string> ran;
    const auto executor = make_executor(graph, *backend, {.training = false});
    for (const NodeReport& line : executor->report()) ran.insert(line.op);
    EXPECT_EQ(ran.contains(joined(ops)), taken.contains(joined(ops))) << joined(ops);
  }
}

TEST(CpuFusion, leaky_relu_that_loses_the_sign_stays_alone) {
  std::unique_ptr<Backend> backend;
  try {
    backend = make_backend("cpu", {});
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  GraphBuilder b(2);
  const int x = b.linear(b.input({4}, Dtype::f32), "fc", {.out_features = 4}, {});
  b.predict(b.apply(LeakyRelu{-0.5f}, {x}, "leaky"));
  const Graph graph = std::move(b).finish();
  EXPECT_EQ(make_executor(graph, *backend, {.training = false})->kernels(), 2);
}

}  // namespace
}  // namespace lockstep::models
