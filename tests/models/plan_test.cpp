// The memory plan: tensors that live together never share bytes, and every tensor lives as long as it is
// read.
#include "models/plan.h"

#include <gtest/gtest.h>

#include <cstring>

#include "models/ops/reference/backend.h"
#include "whole_graph.h"

namespace lockstep::models::testing {
namespace {

class AnyPlan : public ::testing::TestWithParam<NamedGraph> {};
INSTANTIATE_TEST_SUITE_P(Plan, AnyPlan, ::testing::ValuesIn(named_graphs()),
                         [](const auto& each) { return each.param.name; });

struct Planned {
  Graph graph;
  std::unique_ptr<Backend> backend = make_reference_backend<double>({});
  Units units;
  MemoryPlan plan;
  explicit Planned(Graph made, bool training = true) : graph(std::move(made)) {
    units = make_units(graph, *backend, {.training = training});
    plan =
        plan_memory(graph, units, training ? plan_backward(graph, units) : std::vector<BackwardStep>{}, true);
  }
};

TEST_P(AnyPlan, blocks_that_live_together_never_overlap) {
  const Planned planned(GetParam().make());
  const auto& blocks = planned.plan.blocks;
  const auto& offsets = planned.plan.arena.offsets;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    EXPECT_LE(offsets[i] + blocks[i].bytes, planned.plan.arena.bytes);
    for (std::size_t j = 0; j < i; ++j) {
      const bool together = blocks[i].first <= blocks[j].last && blocks[j].first <= blocks[i].last;
      const bool apart =
          offsets[i] + blocks[i].bytes <= offsets[j] || offsets[j] + blocks[j].bytes <= offsets[i];
      EXPECT_TRUE(!together || apart) << i << " and " << j;
    }
  }
}

/// What the poisoning kernels share: the plan, and where the arena turned out to be.
struct Poison {
  MemoryPlan plan;
  std::byte* base = nullptr;

  /// Overwrites with NaN (or -1) all that holds nothing at `time`: dead blocks, and those first written then.
  void spread(int time) const {
    std::vector<bool> alive(plan.arena.bytes, false);
    for (std::size_t i = 0; i < plan.blocks.size(); ++i) {
      const Lifetime& block = plan.blocks[i];
      const bool holds = (block.first < time || block.first == 0) && time <= block.last;
      for (std::size_t byte = 0; holds && byte < block.bytes; ++byte)
        alive[plan.arena.offsets[i] + byte] = true;
    }
    for (std::size_t byte = 0; byte < alive.size(); ++byte) {
      if (!alive[byte]) base[byte] = std::byte{0xff};
    }
  }
};

class PoisonedKernel final : public Kernel {
 public:
  PoisonedKernel(std::unique_ptr<Kernel> inner, Poison& poison, int output_value, int number)
      : inner_(std::move(inner)), poison_(poison), output_value_(output_value), number_(number) {}
  TensorLayout output() const override { return inner_->output(); }
  std::size_t saved_bytes() const override { return inner_->saved_bytes(); }
  std::size_t workspace_bytes() const override { return inner_->workspace_bytes(); }
  bool backward_needs_input(int input) const override { return inner_->backward_needs_input(input); }
  bool backward_needs_output() const override { return inner_->backward_needs_output(); }
  bool in_place() const override { return inner_->in_place(); }
  bool gradient_in_place(int input) const override { return inner_->gradient_in_place(input); }
  Work work() const override { return inner_->work(); }
  void bind(const Bindings& bindings) override {
    const auto block =
        static_cast<std::size_t>(poison_.plan.activation[static_cast<std::size_t>(output_value_)]);
    poison_.base = static_cast<std::byte*>(bindings.output) - poison_.plan.arena.offsets[block];
    inner_->bind(bindings);
  }
  void forward(const Pass& pass, Stream& stream) override {
    if (number_ > 0) stream.host([this] { poison_.spread(number_); });
    inner_->forward(pass, stream);
  }
  void backward(const Pass& pass, Stream& stream) override {
    const int units = static_cast<int>(poison_.plan.saved.size());
    stream.host([this, units] { poison_.spread(2 * units - 1 - number_); });
    inner_->backward(pass, stream);
  }

 private:
  std::unique_ptr<Kernel> inner_;
  Poison& poison_;
  int output_value_;
  int number_;
};

class PoisonedBackend final : public Backend {
 public:
  explicit PoisonedBackend(Poison& poison) : poison_(poison) {}
  std::string_view name() const noexcept override { return "poisoned"; }
  Device device() const noexcept override { return {}; }
  std::unique_ptr<Kernel> make(const KernelRequest& request) override {
    auto inner = inner_->make(request);
    if (inner == nullptr) return nullptr;
    return std::make_unique<PoisonedKernel>(std::move(inner), poison_, request.node->output, made_++);
  }
  TensorLayout input_layout(const ValueSpec& value) const override { return inner_->input_layout(value); }
  void upload(const void* host, const TensorLayout& layout, void* stored, Stream& stream) override {
    inner_->upload(host, layout, stored, stream);
  }
  void download(const void* stored, const TensorLayout& layout, void* host, Stream& stream) override {
    inner_->download(stored, layout, host, stream);
  }

 private:
  std::unique_ptr<Backend> inner_ = make_reference_backend<double>({});
  Poison& poison_;
  int made_ = 0;
};

struct Result {
  double loss;
  std::vector<double> gradients;
};
Result run_poisoned(const NamedGraph& named, MemoryPlan plan) {
  Poison poison{std::move(plan)};
  PoisonedBackend backend(poison);
  WholeGraph whole(named.make(), {}, &backend);
  const double loss = whole.forward();
  whole.backward();
  return {loss, whole.gradients};
}

TEST_P(AnyPlan, poisoning_memory_that_holds_nothing_changes_no_bit) {
  WholeGraph plain(GetParam().make());
  const double loss = plain.forward();
  plain.backward();
  const Result poisoned = run_poisoned(GetParam(), Planned(GetParam().make()).plan);
  EXPECT_EQ(poisoned.loss, loss);
  EXPECT_EQ(poisoned.gradients, plain.gradients);
}

TEST_P(AnyPlan, poisoning_sees_a_lifetime_that_ends_too_early) {
  const Planned planned(GetParam().make());
  MemoryPlan plan = planned.plan;
  const int units = static_cast<int>(planned.units.units.size());
  int shortened = 0;  // activations only: a kernel may use what it saved as indices
  for (int index : plan.activation) {
    if (index < 0) continue;
    Lifetime& block = plan.blocks[static_cast<std::size_t>(index)];
    if (block.first == 0 || block.last <= units) continue;
    block.last = units - 1;
    ++shortened;
  }
  ASSERT_GT(shortened, 0);
  WholeGraph plain(GetParam().make());
  plain.forward();
  plain.backward();
  EXPECT_NE(run_poisoned(GetParam(), plan).gradients, plain.gradients);
}

TEST(Plan, relu_overwrites_an_output_that_backward_does_not_read) {
  const Planned planned(residual_graph());
  const auto place = [&](const std::string& name) {
    for (const Node& node : planned.graph.nodes()) {
      if (node.name == name) return planned.plan.activation[static_cast<std::size_t>(node.output)];
    }
    return -1;
  };
  EXPECT_EQ(place("bn1"), place("relu1"));
  EXPECT_EQ(place("add1"), place("relu2"));
  EXPECT_EQ(place("bn2"), place("add1"));
  EXPECT_NE(place("conv1"), place("bn1")) << "batch norm's backward reads its input";
  EXPECT_NE(place("relu2"), place("add2")) << "conv3 reads relu2 in backward";
}

TEST(Plan, evaluation_keeps_few_activations_of_a_deep_chain) {
  const auto chain = [](GraphBuilder& b) {
    int x = b.input({8, 8, 8}, Dtype::f32);
    for (int i = 0; i < 20; ++i) {
      x = b.conv2d(x, "conv" + std::to_string(i), {.out_channels = 8, .padding = {1, 1}}, {});
    }
    b.predict(x);
    b.loss(MeanSquaredError{});
  };
  const std::size_t one = 8 * 8 * 8 * sizeof(double);
  EXPECT_LE(Planned(make_graph(chain, 1), false).plan.arena.bytes, 3 * one + kArenaAlignment);
  EXPECT_GE(Planned(make_graph(chain, 1), true).plan.arena.bytes, 20 * one);
}

TEST(Plan, slots_come_in_the_order_of_backward) {
  const Planned planned(residual_graph());
  const SlotPlan slots = plan_slots(planned.graph, planned.units);
  EXPECT_EQ(slots.parameters.slots().front().name, "fc.weight");
  EXPECT_EQ(slots.parameters.slots().back().name, "conv1.weight");
  EXPECT_EQ(slots.states.slots().front().name, "bn1.running_mean");
  for (std::size_t u = 1; u < slots.ready.size(); ++u) EXPECT_LE(slots.ready[u], slots.ready[u - 1]);
}

}  // namespace
}  // namespace lockstep::models::testing
