// Fusion: which chains are offered, that declining changes nothing, and that a fused kernel gets the right
// tensors. The fusing backend here runs the single reference kernels one after another inside one kernel.
#include "models/fusion.h"

#include <gtest/gtest.h>

#include <set>

#include "models/ops/reference/backend.h"
#include "whole_graph.h"

namespace lockstep::models::testing {
namespace {

std::string ops_of(const KernelRequest& request) {
  std::string text = op_name(request.node->spec);
  for (const Node* node : request.fused) text += std::string("+") + op_name(node->spec);
  return text;
}

/// Runs the kernels of a chain with private memory in between.
class ChainKernel final : public Kernel {
 public:
  ChainKernel(Backend& backend, const KernelRequest& request) {
    nodes_.push_back(request.node);
    nodes_.insert(nodes_.end(), request.fused.begin(), request.fused.end());
    std::size_t next = 0;
    for (std::size_t n = 0; n < nodes_.size(); ++n) {
      KernelRequest single{.graph = request.graph, .node = nodes_[n], .fused = {}, .inputs = {}};
      for (int input : nodes_[n]->inputs) {
        const bool inner = n > 0 && input == nodes_[n - 1]->output;
        single.inputs.push_back(inner ? kernels_.back()->output() : request.inputs[next++]);
      }
      kernels_.push_back(backend.make(single));
      const auto count = static_cast<std::size_t>(kernels_.back()->output().shape.count());
      values_.emplace_back(count);
      gradients_.emplace_back(count);
      saved_.emplace_back(kernels_.back()->saved_bytes());
    }
  }
  TensorLayout output() const override { return kernels_.back()->output(); }
  Work work() const override { return {}; }

  void bind(const Bindings& whole) override {
    std::size_t input = 0;
    std::size_t parameter = 0;
    std::size_t state = 0;
    for (std::size_t n = 0; n < nodes_.size(); ++n) {
      const bool last = n + 1 == nodes_.size();
      Bindings part;
      part.output = last ? whole.output : values_[n].data();
      part.output_gradient = last ? whole.output_gradient : gradients_[n].data();
      part.saved = saved_[n].data();
      for (int value : nodes_[n]->inputs) {
        const bool inner = n > 0 && value == nodes_[n - 1]->output;
        part.inputs.push_back(inner ? values_[n - 1].data() : whole.inputs[input]);
        part.input_gradients.push_back(inner ? Bindings::InputGradient{gradients_[n - 1].data(), false}
                                             : whole.input_gradients[input]);
        input += inner ? 0 : 1;
      }
      for (std::size_t i = 0; i < nodes_[n]->parameters.size(); ++i)
        part.parameters.push_back(whole.parameters[parameter++]);
      for (std::size_t i = 0; i < nodes_[n]->states.size(); ++i) part.states.push_back(whole.states[state++]);
      kernels_[n]->bind(part);
    }
  }
  void forward(const Pass& pass, Stream& stream) override {
    for (auto& kernel : kernels_) kernel->forward(pass, stream);
  }
  void backward(const Pass& pass, Stream& stream) override {
    for (std::size_t n = kernels_.size(); n-- > 0;) kernels_[n]->backward(pass, stream);
  }

 private:
  std::vector<const Node*> nodes_;
  std::vector<std::unique_ptr<Kernel>> kernels_;
  std::vector<std::vector<double>> values_, gradients_;
  std::vector<std::vector<std::byte>> saved_;
};

/// Accepts the chains in `accepted` and notes what it was offered.
class FusingBackend final : public Backend {
 public:
  explicit FusingBackend(std::set<std::string> accepted) : accepted_(std::move(accepted)) {}
  std::string_view name() const noexcept override { return "fusing"; }
  Device device() const noexcept override { return {}; }
  std::unique_ptr<Kernel> make(const KernelRequest& request) override {
    if (request.fused.empty()) return inner_->make(request);
    offered.push_back(ops_of(request));
    if (!accepted_.contains(offered.back())) return nullptr;
    return std::make_unique<ChainKernel>(*inner_, request);
  }
  TensorLayout input_layout(const ValueSpec& value) const override { return inner_->input_layout(value); }
  void upload(const void* host, const TensorLayout& layout, void* stored, Stream& stream) override {
    inner_->upload(host, layout, stored, stream);
  }
  void download(const void* stored, const TensorLayout& layout, void* host, Stream& stream) override {
    inner_->download(stored, layout, host, stream);
  }

  std::vector<std::string> offered;

 private:
  std::set<std::string> accepted_;
  std::unique_ptr<Backend> inner_ = make_reference_backend<double>({});
};

std::vector<double> gradients_by_name(WholeGraph& whole) {
  std::vector<double> all{whole.forward()};
  whole.backward();
  const SlotLayout& layout = whole.executor().parameter_layout();
  for (int index : layout.canonical_order()) {
    const Slot& slot = layout.slots()[static_cast<std::size_t>(index)];
    all.insert(all.end(), whole.gradients.begin() + slot.offset,
               whole.gradients.begin() + slot.offset + slot.stored_count);
  }
  return all;
}

std::set<std::string> ops_run(WholeGraph& whole) {
  std::set<std::string> ops;
  for (const NodeReport& line : whole.executor().report()) ops.insert(line.op);
  return ops;
}

struct Choice {
  std::string name;
  Graph (*make)();
  std::set<std::string> accepted;
};

class Fusing : public ::testing::TestWithParam<Choice> {};
INSTANTIATE_TEST_SUITE_P(
    Fusion, Fusing,
    ::testing::Values(
        Choice{"residual_whole", [] { return residual_graph(); }, {"batch_norm+relu", "batch_norm+add+relu"}},
        Choice{"residual_parts", [] { return residual_graph(); }, {"batch_norm+add", "batch_norm+relu"}},
        Choice{"residual_tail", [] { return residual_graph(); }, {"add+relu"}},
        Choice{"concat", [] { return concat_graph(); }, {"conv2d+gelu", "conv2d+leaky_relu"}},
        Choice{
            "tied_whole", [] { return tied_graph(); }, {"linear+dropout+add", "linear+gelu", "linear+add"}},
        Choice{"tied_parts", [] { return tied_graph(); }, {"linear+dropout"}},
        Choice{"tied_tail", [] { return tied_graph(); }, {"dropout+add"}}),
    [](const auto& each) { return each.param.name; });

TEST_P(Fusing, accepted_chains_run_as_one_kernel_with_the_same_bits) {
  FusingBackend backend(GetParam().accepted);
  WholeGraph fused(GetParam().make(), {}, &backend);
  WholeGraph plain(GetParam().make(), {.fuse = false});
  EXPECT_EQ(gradients_by_name(fused), gradients_by_name(plain));
  const auto ran = ops_run(fused);
  for (const std::string& chain : GetParam().accepted) EXPECT_TRUE(ran.contains(chain)) << chain;
}

TEST(Fusion, longest_chain_is_offered_first_then_its_beginnings_and_its_rest) {
  FusingBackend backend({});
  WholeGraph whole(residual_graph(), {}, &backend);
  const std::vector<std::string> wanted{"batch_norm+relu", "batch_norm+add+relu", "batch_norm+add",
                                        "add+relu",        "batch_norm+add+relu", "batch_norm+add",
                                        "add+relu"};
  EXPECT_EQ(backend.offered, wanted);
}

TEST(Fusion, switched_off_offers_nothing) {
  FusingBackend backend({"batch_norm+relu"});
  WholeGraph whole(residual_graph(), {.fuse = false}, &backend);
  EXPECT_TRUE(backend.offered.empty());
}

TEST(Fusion, value_that_somebody_else_reads_is_not_swallowed) {
  const auto build = [](GraphBuilder& b) {
    const int x = b.linear(b.input({4}, Dtype::f32), "fc", {.out_features = 4}, {});
    b.predict(b.apply(Add{}, {x, b.apply(Relu{}, {x}, "relu")}, "add"));
    b.loss(MeanSquaredError{});
  };
  FusingBackend backend({"linear+relu"});
  WholeGraph whole(make_graph(build, 2), {}, &backend);
  EXPECT_TRUE(backend.offered.empty());
}

TEST(Fusion, prediction_is_not_swallowed) {
  const auto build = [](GraphBuilder& b) {
    const int x = b.linear(b.input({4}, Dtype::f32), "fc", {.out_features = 4}, {});
    b.predict(x);
    static_cast<void>(b.apply(Relu{}, {x}, "relu"));
  };
  FusingBackend backend({"linear+relu"});
  WholeGraph whole(make_graph(build, 2), {}, &backend);
  EXPECT_TRUE(backend.offered.empty());
}

}  // namespace
}  // namespace lockstep::models::testing
