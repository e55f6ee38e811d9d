#include "whole_graph.h"

#include "core/random.h"
#include "models/ops/reference/backend.h"

namespace lockstep::models::testing {
namespace {

std::vector<double> normals(std::int64_t count, const std::string& purpose) {
  const RandomSource source(11, purpose, 0);
  std::vector<double> numbers(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<double>(source.normal(i));
  return numbers;
}

std::vector<std::int32_t> labels(std::int64_t count, std::uint64_t bound) {
  const RandomSource source(12, "labels", 0);
  std::vector<std::int32_t> result(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < result.size(); ++i)
    result[i] = static_cast<std::int32_t>(source.below(i, bound));
  return result;
}

const ValueSpec& value(const Graph& graph, int index) {
  return graph.values()[static_cast<std::size_t>(index)];
}

constexpr std::int64_t kClasses = 5;  ///< classes and vocabulary of all graphs

}  // namespace

Graph make_graph(const BuildGraph& build, std::int64_t microbatch) {
  GraphBuilder builder(microbatch);
  build(builder);
  return std::move(builder).finish();
}

Graph residual_graph(std::int64_t microbatch) {
  return make_graph(
      [](GraphBuilder& b) {
        const Conv2d op{.out_channels = 3, .padding = {1, 1}, .bias = false};
        int x = b.conv2d(b.input({2, 5, 4}, Dtype::f32), "conv1", op, {});
        x = b.apply(Relu{}, {b.batch_norm(x, "bn1", {})}, "relu1");
        int y = b.batch_norm(b.conv2d(x, "conv2", op, {}), "bn2", {});
        const int around = b.batch_norm(b.conv2d(x, "down", op, {}), "bn3", {});
        x = b.apply(Relu{}, {b.apply(Add{}, {y, around}, "add1")}, "relu2");
        y = b.batch_norm(b.conv2d(x, "conv3", op, {}), "bn4", {});
        x = b.apply(Relu{}, {b.apply(Add{}, {x, y}, "add2")}, "relu3");
        x = b.apply(GlobalAveragePool{}, {x}, "pool");
        b.predict(b.linear(x, "fc", {.out_features = kClasses}, {}));
        b.loss(SoftmaxCrossEntropy{});
      },
      microbatch);
}

Graph concat_graph(std::int64_t microbatch) {
  return make_graph(
      [](GraphBuilder& b) {
        const int x = b.input({2, 4, 6}, Dtype::f32);
        const int level =
            b.apply(Gelu{}, {b.conv2d(x, "a", {.out_channels = 3, .padding = {1, 1}}, {})}, "gelu");
        int y = b.apply(MaxPool{}, {level}, "down");
        y = b.conv2d(y, "b", {.out_channels = 4, .kernel = {1, 1}}, {});
        y = b.apply(LeakyRelu{}, {y}, "leaky");
        y = b.conv_transpose2d(y, "up", {.out_channels = 2}, {});
        y = b.apply(Concat{}, {y, level}, "join");
        y = b.conv2d(y, "c", {.out_channels = 1, .padding = {1, 1}}, {});
        b.predict(y);
        b.loss(SmoothL1{});
      },
      microbatch);
}

Graph tied_graph(std::int64_t microbatch, float dropout) {
  return make_graph(
      [=](GraphBuilder& b) {
        int x = b.embedding(b.input({4}, Dtype::i32), "tokens", {.vocabulary = kClasses, .width = 4}, {});
        x = b.position_embedding(x, "positions", {.context = 6}, {});
        int y = b.linear(b.layer_norm(x, "ln1"), "qkv", {.out_features = 12}, {});
        y = b.apply(CausalAttention{.heads = 2, .dropout = dropout}, {y}, "attention");
        y = b.linear(y, "out", {.out_features = 4}, {});
        y = b.apply(Dropout{dropout}, {y}, "drop");
        x = b.apply(Add{}, {x, y}, "residual");
        y = b.apply(Gelu{}, {b.linear(b.layer_norm(x, "ln2"), "fc", {.out_features = 6}, {})}, "gelu");
        x = b.apply(Add{}, {x, b.linear(y, "proj", {.out_features = 4}, {})}, "residual2");
        b.predict(b.tied_linear(x, "head", "tokens"));
        b.loss(SoftmaxCrossEntropy{});
      },
      microbatch);
}

std::vector<NamedGraph> named_graphs() {
  return {{"residual", [] { return residual_graph(); }},
          {"concat", [] { return concat_graph(); }},
          {"tied", [] { return tied_graph(); }}};
}

WholeGraph::WholeGraph(Graph graph, const ExecutorOptions& options, Backend* backend)
    : graph_(std::move(graph)), stream_(make_stream(Device{})) {
  if (backend == nullptr) {
    own_backend_ = make_reference_backend<double>({});
    backend = own_backend_.get();
  }
  executor_ = make_executor(graph_, *backend, options);
  // Values by slot name, so that layouts in another order hold the same model.
  values.assign(static_cast<std::size_t>(executor_->parameter_layout().stored_count()), 0);
  for (const Slot& slot : executor_->parameter_layout().slots()) {
    const auto numbers = normals(slot.shape.count(), slot.name);
    std::copy(numbers.begin(), numbers.end(), values.begin() + slot.offset);
  }
  gradients.assign(values.size(), 0);
  state.assign(static_cast<std::size_t>(executor_->state_layout().stored_count()), 1);
  statistics.assign(state.size(), 0);
  const ValueSpec& fed = value(graph_, graph_.input());
  fed.dtype == Dtype::i32 ? void(input_ids = labels(fed.shape.count(), kClasses))
                          : void(input = normals(fed.shape.count(), "input"));
  if (graph_.loss() < 0) return;
  const ValueSpec& wanted = value(graph_, graph_.target());
  wanted.dtype == Dtype::i32 ? void(target_ids = labels(wanted.shape.count(), kClasses))
                             : void(target = normals(wanted.shape.count(), "target"));
  losses.resize(static_cast<std::size_t>(value(graph_, graph_.loss()).shape.count()));
}

double WholeGraph::forward() {
  pass.values = flat(std::span<double>(values));
  pass.working = pass.values;
  pass.gradients = flat(std::span<double>(gradients));
  pass.state = flat(std::span<double>(state));
  pass.statistics = flat(std::span<double>(statistics));
  const void* fed = input_ids.empty() ? static_cast<const void*>(input.data()) : input_ids.data();
  const void* wanted = target_ids.empty() ? static_cast<const void*>(target.data()) : target_ids.data();
  executor_->feed(fed, wanted, *stream_);
  executor_->forward(pass, *stream_);
  if (graph_.loss() >= 0) executor_->read_losses(losses.data(), *stream_);
  stream_->synchronize();
  double sum = 0;
  double counted = 0;
  for (double loss : losses) {
    if (loss == static_cast<double>(kIgnoredRow)) continue;
    sum += loss;
    ++counted;
  }
  return counted > 0 ? sum / counted : 0;
}

void WholeGraph::backward(const ReadyHook& ready) {
  executor_->backward(pass, ready, *stream_);
  stream_->synchronize();
}

}  // namespace lockstep::models::testing
