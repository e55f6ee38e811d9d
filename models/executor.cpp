#include "models/executor.h"

#include <spdlog/fmt/fmt.h>

#include <deque>

#include "core/error.h"
#include "core/trace.h"
#include "models/fusion.h"
#include "models/plan.h"

namespace lockstep::models {
namespace {

std::size_t at(int index) { return static_cast<std::size_t>(index); }

/// "conv2d+batch_norm+relu"
std::string ops_of(const Unit& unit) {
  std::string ops;
  for (const Node* node : unit.nodes) {
    if (!ops.empty()) ops += '+';
    ops += op_name(node->spec);
  }
  return ops;
}

Trace::Span span_of(const Pass& pass, const std::string& what, const Unit& unit, Stream& stream) {
  if (pass.trace == nullptr) return {nullptr, {}, {}, stream};
  return {pass.trace, "compute", what + " " + unit.nodes[0]->name + " (" + ops_of(unit) + ")", stream};
}

class PlannedExecutor final : public Executor {
 public:
  PlannedExecutor(const Graph& graph, Backend& backend, const ExecutorOptions& options)
      : graph_(graph),
        backend_(backend),
        repeatable_(!options.reuse_memory),
        training_(options.training && graph.loss() >= 0),
        units_(make_units(graph, backend, {.fuse = options.fuse, .training = training_})),
        slots_(plan_slots(graph, units_)) {
    if (training_) plan_backward_pass(options.recompute);
    memory_ = plan_memory(graph, units_, backward_, options.reuse_memory, line_);
    if (options.plan_only) return;
    arena_ = allocate(backend.device(), memory_.arena.bytes);
    if (line_.repeated() > 0)
      unused_statistics_ =
          allocate(backend.device(), static_cast<std::size_t>(slots_.states.stored_count()) * sizeof(double));
    for (std::size_t u = 0; u < units_.units.size(); ++u) bind(u);
  }

  [[nodiscard]] const SlotLayout& parameter_layout() const noexcept override { return slots_.parameters; }
  [[nodiscard]] const SlotLayout& state_layout() const noexcept override { return slots_.states; }
  [[nodiscard]] const Graph& graph() const noexcept override { return graph_; }
  [[nodiscard]] std::size_t arena_bytes() const noexcept override { return memory_.arena.bytes; }
  [[nodiscard]] int kernels() const noexcept override { return static_cast<int>(units_.units.size()); }

  void feed(const void* input, const void* target, Stream& stream) override {
    backend_.upload(input, layout(graph_.input()), activation(graph_.input()), stream);
    if (target != nullptr && graph_.target() >= 0) {
      backend_.upload(target, layout(graph_.target()), activation(graph_.target()), stream);
    }
  }

  void forward(const Pass& pass, Stream& stream) override {
    const Held& held = hold(pass);
    for (const Unit& unit : units_.units) {
      const Trace::Span span = span_of(pass, "forward", unit, stream);
      unit.kernel->forward(held.pass, stream);
    }
    release_after(stream);
  }

  void backward(const Pass& pass, const ReadyHook& ready, Stream& stream) override {
    if (!training_) throw Error(Fault::internal, "backward of an executor that was made for evaluation");
    const Held& held = hold(pass);
    int complete = 0;
    for (const BackwardEvent& event : line_.events) {
      const std::size_t u = at(event.unit);
      if (event.forward) {
        const Trace::Span span = span_of(pass, "forward again", units_.units[u], stream);
        units_.units[u].kernel->forward(held.repeating, stream);
        continue;
      }
      if (backward_[u].runs) {
        const Trace::Span span = span_of(pass, "backward", units_.units[u], stream);
        units_.units[u].kernel->backward(pass_of(held, u), stream);
      }
      if (slots_.ready[u] == complete) continue;
      complete = slots_.ready[u];
      if (ready) ready(complete);
    }
    release_after(stream);
  }

  void add_loss(float* sum, Stream& stream) override {
    backend_.add_mean_loss(activation(loss()), layout(loss()), sum, stream);
  }
  void read_losses(void* rows, Stream& stream) override {
    backend_.download(activation(loss()), layout(loss()), rows, stream);
  }
  void read_prediction(void* prediction, Stream& stream) override {
    backend_.download(activation(graph_.prediction()), layout(graph_.prediction()), prediction, stream);
  }

  [[nodiscard]] std::vector<NodeReport> report() const override {
    std::vector<NodeReport> lines;
    std::vector<bool> counted(graph_.parameters().size(), false);
    for (std::size_t u = 0; u < units_.units.size(); ++u) {
      const Unit& unit = units_.units[u];
      NodeReport line;
      line.name = unit.nodes[0]->name;
      line.output = layout(unit.output).shape;
      line.op = ops_of(unit);
      for (int p : unit.parameters) {
        if (!counted[at(p)]) line.parameters += graph_.parameters()[at(p)].shape.count();
        counted[at(p)] = true;
      }
      const bool in_place = memory_.activation[at(unit.output)] == memory_.activation[at(unit.inputs[0])];
      line.activation_bytes = (in_place ? 0 : bytes(unit.output)) + unit.kernel->saved_bytes();
      line.repeated = training_ && line_.again[u] >= 0;
      line.work = unit.kernel->work();
      lines.push_back(std::move(line));
    }
    return lines;
  }

  void run_kernel(int kernel, bool backward, const Pass& pass, Stream& stream) override {
    if (!repeatable_) throw Error(Fault::internal, "single kernels run only without reuse of memory");
    const Held& held = hold(pass);
    Kernel& chosen = *units_.units.at(at(kernel)).kernel;
    if (!backward) {
      chosen.forward(held.pass, stream);
    } else if (training_ && backward_[at(kernel)].runs) {
      chosen.backward(pass_of(held, at(kernel)), stream);
    }
    release_after(stream);
  }

 private:
  /// A pass in flight: kernels refer to it until the stream has run them. `adding` is the same for the later
  /// writers of tied slots, `repeating` for forwards that run again: their statistics are in the sum already.
  struct Held {
    Pass pass, adding, repeating;
    Event done;
  };

  void plan_backward_pass(bool recompute) {
    backward_ = plan_backward(graph_, units_);
    line_ =
        recompute ? plan_recompute(graph_, units_, backward_) : make_timeline(graph_, units_, backward_, {0});
  }

  const Held& hold(const Pass& pass) {
    while (!held_.empty() && held_.front().done.complete()) held_.pop_front();
    held_.push_back({pass, pass, pass, {}});
    held_.back().adding.accumulate = true;
    held_.back().repeating.accumulate = false;
    held_.back().repeating.statistics.data = unused_statistics_.data();
    return held_.back();
  }
  void release_after(Stream& stream) { held_.back().done = stream.record(); }
  [[nodiscard]] const Pass& pass_of(const Held& held, std::size_t u) const {
    return backward_[u].adds_parameters ? held.adding : held.pass;
  }

  [[nodiscard]] int loss() const {
    if (graph_.loss() < 0) throw Error(Fault::internal, "the graph has no loss");
    return graph_.loss();
  }
  [[nodiscard]] const TensorLayout& layout(int value) const { return units_.layouts[at(value)]; }
  [[nodiscard]] std::size_t bytes(int value) const {
    return static_cast<std::size_t>(layout(value).stored_count()) * size_of(layout(value).dtype);
  }
  [[nodiscard]] void* block(int index) const {
    return index < 0 ? nullptr : static_cast<std::byte*>(arena_.data()) + memory_.arena.offsets[at(index)];
  }
  [[nodiscard]] void* activation(int value) const { return block(memory_.activation[at(value)]); }

  void bind(std::size_t u) {
    const Unit& unit = units_.units[u];
    Bindings bindings{.inputs = {},
                      .output = activation(unit.output),
                      .output_gradient = block(memory_.gradient[at(unit.output)]),
                      .input_gradients = {},
                      .parameters = {},
                      .states = {},
                      .saved = block(memory_.saved[u]),
                      .workspace = block(memory_.workspace)};
    for (int input : unit.inputs) bindings.inputs.push_back(activation(input));
    bindings.input_gradients.resize(unit.inputs.size());
    for (std::size_t i = 0; training_ && i < unit.inputs.size(); ++i) {
      const auto& gradient = backward_[u].inputs[i];
      if (!gradient.wanted) continue;
      bindings.input_gradients[i] = {block(memory_.gradient[at(unit.inputs[i])]), gradient.add};
    }
    for (int p : unit.parameters) {
      bindings.parameters.push_back(slots_.parameters.slots()[at(slots_.slot_of_parameter[at(p)])].offset);
    }
    for (int s : unit.states) bindings.states.push_back(slots_.states.slots()[at(s)].offset);
    unit.kernel->bind(bindings);
  }

  const Graph& graph_;
  Backend& backend_;
  bool repeatable_;
  bool training_;
  Units units_;
  SlotPlan slots_;
  std::vector<BackwardStep> backward_;
  Timeline line_;
  MemoryPlan memory_;
  Memory arena_;
  Memory unused_statistics_;  ///< where batch norms write when they run again
  std::deque<Held> held_;
};

}  // namespace

std::unique_ptr<Executor> make_executor(const Graph& graph, Backend& backend,
                                        const ExecutorOptions& options) {
  return std::make_unique<PlannedExecutor>(graph, backend, options);
}

}  // namespace lockstep::models
