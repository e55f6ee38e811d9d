#include "one_kernel.h"

#include "core/random.h"
#include "models/ops/reference/backend.h"

namespace lockstep::models::testing {
namespace {

constexpr std::uint64_t kSeed = 77;

Graph build_graph(const BuildGraph& build, std::int64_t microbatch) {
  GraphBuilder builder(microbatch);
  build(builder);
  return std::move(builder).finish();
}

std::size_t count_of(const Graph& graph, int value) {
  return static_cast<std::size_t>(graph.values()[static_cast<std::size_t>(value)].shape.count());
}

}  // namespace

std::vector<double> random_values(std::size_t count, const std::string& purpose) {
  const RandomSource source(kSeed, purpose, 0);
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<double>(source.normal(i));
  return values;
}

OneKernel::OneKernel(const BuildGraph& build, std::int64_t microbatch, const BackendOptions& options)
    : graph_(build_graph(build, microbatch)),
      backend_(make_reference_backend<double>(options)),
      stream_(make_stream(Device{})) {
  KernelRequest request{.graph = &graph_, .node = &node(), .fused = {}, .inputs = {}};
  for (int input : node().inputs) {
    request.inputs.push_back(backend_->input_layout(graph_.values()[static_cast<std::size_t>(input)]));
  }
  kernel_ = backend_->make(request);
  Bindings bindings;
  bindings.parameters = place(graph_.parameters(), node().parameters, values);
  values = random_values(values.size(), "parameters");
  gradients.assign(values.size(), 0);
  bindings.states = place(graph_.states(), node().states, state);
  statistics.assign(state.size(), 0);
  make_inputs(bindings);
  output_.resize(count_of(graph_, node().output));
  bindings.output = output_.data();
  output_gradient = random_values(output_.size(), "output gradient");
  if (!is_loss()) bindings.output_gradient = output_gradient.data();
  saved_.resize(kernel_->saved_bytes());
  workspace_.resize(kernel_->workspace_bytes());
  bindings.saved = saved_.data();
  bindings.workspace = workspace_.data();
  kernel_->bind(bindings);
}

std::vector<std::int64_t> OneKernel::place(std::span<const ParameterSpec> specs, const std::vector<int>& used,
                                           std::vector<double>& array) {
  std::vector<std::int64_t> offsets;
  for (int index : used) {
    offsets.push_back(static_cast<std::int64_t>(array.size()));
    array.resize(
        array.size() + static_cast<std::size_t>(specs[static_cast<std::size_t>(index)].shape.count()), 1.0);
  }
  return offsets;
}

void OneKernel::make_inputs(Bindings& bindings) {
  inputs.resize(node().inputs.size());
  ids.resize(node().inputs.size());
  input_gradients.resize(node().inputs.size());
  bindings.input_gradients.resize(node().inputs.size());
  for (std::size_t i = 0; i < node().inputs.size(); ++i) {
    const auto& value = graph_.values()[static_cast<std::size_t>(node().inputs[i])];
    if (value.dtype == Dtype::i32) {
      fill_ids(i);
      bindings.inputs.push_back(ids[i].data());
      continue;
    }
    inputs[i] = random_values(count_of(graph_, node().inputs[i]), "input " + std::to_string(i));
    input_gradients[i].assign(inputs[i].size(), 0);
    bindings.inputs.push_back(inputs[i].data());
    if (node().inputs[i] != graph_.target()) bindings.input_gradients[i].data = input_gradients[i].data();
  }
}

void OneKernel::fill_ids(std::size_t input) {
  std::int64_t bound = 0;
  if (const auto* embedding = std::get_if<Embedding>(&node().spec)) bound = embedding->vocabulary;
  if (std::holds_alternative<SoftmaxCrossEntropy>(node().spec)) {
    const Shape& prediction = graph_.values()[static_cast<std::size_t>(graph_.prediction())].shape;
    bound = prediction.rank() == 4 ? prediction[1] : prediction[prediction.rank() - 1];
  }
  const RandomSource source(kSeed, "ids", 0);
  ids[input].resize(count_of(graph_, node().inputs[input]));
  for (std::size_t i = 0; i < ids[input].size(); ++i) {
    ids[input][i] = static_cast<std::int32_t>(source.below(i, static_cast<std::uint64_t>(bound)));
  }
}

void OneKernel::forward() {
  pass.values = flat(std::span<double>(values));
  pass.working = pass.values;
  pass.gradients = flat(std::span<double>(gradients));
  pass.state = flat(std::span<double>(state));
  pass.statistics = flat(std::span<double>(statistics));
  kernel_->forward(pass, *stream_);
  stream_->synchronize();
}

void OneKernel::backward() {
  kernel_->backward(pass, *stream_);
  stream_->synchronize();
}

double OneKernel::objective() {
  forward();
  double sum = 0;
  double counted = 0;
  for (std::size_t i = 0; i < output_.size(); ++i) {
    if (is_loss() && output_[i] == static_cast<double>(kIgnoredRow)) continue;
    sum += output_[i] * (is_loss() ? 1 : output_gradient[i]);
    ++counted;
  }
  return is_loss() ? sum / counted : sum;
}

}  // namespace lockstep::models::testing
