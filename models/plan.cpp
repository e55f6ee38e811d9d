#include "models/plan.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "core/error.h"

namespace lockstep::models {
namespace {

std::size_t at(int index) { return static_cast<std::size_t>(index); }

/// Per value: a parameter lies before it, so its gradient leads somewhere.
std::vector<bool> values_with_parameters(const Graph& graph, const Units& units) {
  std::vector<bool> result(graph.values().size(), false);
  for (const Unit& unit : units.units) {
    const bool any = std::ranges::any_of(unit.inputs, [&](int input) { return result[at(input)]; });
    result[at(unit.output)] = any || !unit.parameters.empty();
  }
  return result;
}

void check_all_trained(const Graph& graph, const std::vector<bool>& written) {
  for (std::size_t i = 0; i < written.size(); ++i) {
    if (!written[i]) {
      throw Error(Fault::config,
                  fmt::format("parameter '{}' does not influence the loss", graph.parameters()[i].name),
                  "leave the layer out, or connect it to the prediction");
    }
  }
}

/// Notes that backward of `unit` writes its slots; returns whether they held something before.
bool claim_parameters(const Unit& unit, std::vector<bool>& written) {
  const auto before = std::ranges::count_if(unit.parameters, [&](int p) { return written[at(p)]; });
  if (before != 0 && before != std::ssize(unit.parameters)) {
    throw Error(Fault::internal,
                fmt::format("node '{}' ties only some of its parameters", unit.nodes[0]->name));
  }
  for (int p : unit.parameters) written[at(p)] = true;
  return before != 0;
}

}  // namespace

std::vector<BackwardStep> plan_backward(const Graph& graph, const Units& units) {
  const auto leads_somewhere = values_with_parameters(graph, units);
  std::vector<BackwardStep> steps(units.units.size());
  std::vector<bool> has_gradient(graph.values().size(), false);
  std::vector<bool> written(graph.parameters().size(), false);
  has_gradient[at(graph.loss())] = true;
  for (std::size_t u = steps.size(); u-- > 0;) {
    const Unit& unit = units.units[u];
    BackwardStep& step = steps[u];
    step.inputs.resize(unit.inputs.size());
    step.runs = has_gradient[at(unit.output)] && leads_somewhere[at(unit.output)];
    if (!step.runs) continue;
    for (std::size_t i = 0; i < unit.inputs.size(); ++i) {
      const auto input = at(unit.inputs[i]);
      step.inputs[i] = {leads_somewhere[input], has_gradient[input]};
      has_gradient[input] = true;
    }
    step.adds_parameters = claim_parameters(unit, written);
  }
  check_all_trained(graph, written);
  return steps;
}

namespace {

/// Storage order of every parameter, as its kernels want it.
std::vector<StorageOrderPtr> storage_of_parameters(const Graph& graph, const Units& units) {
  std::vector<StorageOrderPtr> storage(graph.parameters().size());
  std::vector<bool> known(graph.parameters().size(), false);
  const auto name = [](const StorageOrderPtr& order) { return order ? order->name() : std::string("dense"); };
  for (const Unit& unit : units.units) {
    auto wanted = unit.kernel->parameter_storage();
    wanted.resize(unit.parameters.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const auto p = at(unit.parameters[i]);
      if (known[p] && name(storage[p]) != name(wanted[i])) {
        throw Error(Fault::internal,
                    fmt::format("tied slot '{}' is wanted as {} and as {}", graph.parameters()[p].name,
                                name(storage[p]), name(wanted[i])));
      }
      known[p] = true;
      storage[p] = wanted[i];
    }
  }
  return storage;
}

}  // namespace

SlotPlan plan_slots(const Graph& graph, const Units& units) {
  const auto storage = storage_of_parameters(graph, units);
  SlotPlan plan;
  plan.slot_of_parameter.assign(graph.parameters().size(), -1);
  plan.ready.assign(units.units.size(), 0);
  // Backward runs from the last unit to the first; a slot completes at its first unit, its last writer.
  std::vector<std::size_t> completes(graph.parameters().size(), 0);
  for (std::size_t u = units.units.size(); u-- > 0;) {
    for (int p : units.units[u].parameters) completes[at(p)] = u;
  }
  std::vector<SlotSpec> slots;
  for (std::size_t u = units.units.size(); u-- > 0;) {
    for (int p : units.units[u].parameters) {
      if (completes[at(p)] != u || plan.slot_of_parameter[at(p)] >= 0) continue;
      const ParameterSpec& parameter = graph.parameters()[at(p)];
      plan.slot_of_parameter[at(p)] = static_cast<int>(slots.size());
      slots.push_back({parameter.name, parameter.shape, storage[at(p)], parameter.decays});
    }
    plan.ready[u] = static_cast<int>(slots.size());
  }
  plan.parameters = SlotLayout(std::move(slots));
  std::vector<SlotSpec> states;
  for (const ParameterSpec& state : graph.states())
    states.push_back({state.name, state.shape, {}, state.decays});
  plan.states = SlotLayout(std::move(states));
  return plan;
}

namespace {

/// Gives every tensor a block with its lifetime; a tensor that may overwrite another joins that one's block.
class MemoryPlanner {
 public:
  MemoryPlanner(const Graph& graph, const Units& units, const std::vector<BackwardStep>& backward, bool reuse)
      : graph_(graph),
        units_(units),
        backward_(backward),
        reuse_(reuse),
        count_(static_cast<int>(units.units.size())),
        producer_(graph.values().size(), -1),
        last_read_(graph.values().size(), -1),
        readers_(graph.values().size(), 0) {
    plan_.activation.assign(graph.values().size(), -1);
    plan_.gradient.assign(graph.values().size(), -1);
    plan_.saved.assign(units.units.size(), -1);
  }

  MemoryPlan plan() && {
    find_reads();
    place_fed_values();
    for (int u = 0; u < count_; ++u) place_activation(u);
    if (training()) {
      for (int u = count_; u-- > 0;) place_gradients(u);
    }
    place_scratch();
    if (!reuse_) {
      for (Lifetime& block : plan_.blocks) block = {block.bytes, 0, end()};
    }
    plan_.arena = plan_arena(plan_.blocks);
    return std::move(plan_);
  }

 private:
  [[nodiscard]] bool training() const { return !backward_.empty(); }
  [[nodiscard]] int backward_time(int u) const { return 2 * count_ - 1 - u; }
  [[nodiscard]] int end() const { return training() ? 2 * count_ - 1 : count_ - 1; }
  [[nodiscard]] const Unit& unit(int u) const { return units_.units[at(u)]; }
  [[nodiscard]] bool runs_backward(int u) const { return training() && backward_[at(u)].runs; }
  [[nodiscard]] std::size_t bytes(int value) const {
    const TensorLayout& layout = units_.layouts[at(value)];
    return static_cast<std::size_t>(layout.stored_count()) * size_of(layout.dtype);
  }
  int add_block(std::size_t size, int first, int last) {
    plan_.blocks.push_back({size, first, last});
    return static_cast<int>(plan_.blocks.size()) - 1;
  }
  void live_until(int block, int time) {
    plan_.blocks[at(block)].last = std::max(plan_.blocks[at(block)].last, time);
  }

  void find_reads() {
    const auto read = [&](int value, int time) {
      last_read_[at(value)] = std::max(last_read_[at(value)], time);
    };
    for (int u = 0; u < count_; ++u) {
      const Unit& each = unit(u);
      producer_[at(each.output)] = u;
      read(each.output, u);
      for (std::size_t i = 0; i < each.inputs.size(); ++i) {
        ++readers_[at(each.inputs[i])];
        read(each.inputs[i], u);
        if (runs_backward(u) && each.kernel->backward_needs_input(static_cast<int>(i))) {
          read(each.inputs[i], backward_time(u));
        }
      }
      if (runs_backward(u) && each.kernel->backward_needs_output()) read(each.output, backward_time(u));
    }
    // The caller reads these between forward and backward, the losses even after it.
    read(graph_.prediction(), count_ - 1);
    if (graph_.loss() >= 0) read(graph_.loss(), end());
  }

  void place_fed_values() {
    for (int fed : {graph_.input(), graph_.target()}) {
      if (fed >= 0) plan_.activation[at(fed)] = add_block(bytes(fed), 0, std::max(0, last_read_[at(fed)]));
    }
  }

  /// True when the output of unit u may overwrite its input 0: nobody reads that afterwards.
  [[nodiscard]] bool may_overwrite(int u) const {
    const Unit& each = unit(u);
    const int value = each.inputs.front();
    return reuse_ && each.kernel->in_place() && producer_[at(value)] >= 0 && readers_[at(value)] == 1 &&
           value != graph_.prediction() && last_read_[at(value)] == u && bytes(value) == bytes(each.output);
  }

  /// True when gradient `input` of unit u may overwrite the input itself: this backward is its last reader.
  /// Values that share memory with others (fed, or made in place) are left alone.
  [[nodiscard]] bool may_replace(int u, int input) const {
    const Unit& each = unit(u);
    const int value = each.inputs[at(input)];
    const int block = plan_.activation[at(value)];
    return reuse_ && each.kernel->gradient_over_input(input) && producer_[at(value)] >= 0 &&
           last_read_[at(value)] <= backward_time(u) && std::ranges::count(plan_.activation, block) == 1;
  }

  void place_activation(int u) {
    const int value = unit(u).output;
    const int last = last_read_[at(value)];
    if (may_overwrite(u)) {
      plan_.activation[at(value)] = plan_.activation[at(unit(u).inputs.front())];
      live_until(plan_.activation[at(value)], last);
    } else {
      plan_.activation[at(value)] = add_block(bytes(value), u, last);
    }
    const std::size_t saved = unit(u).kernel->saved_bytes();
    if (saved > 0) plan_.saved[at(u)] = add_block(saved, u, runs_backward(u) ? backward_time(u) : u);
  }

  /// A gradient lives from its first writer to the backward of the unit that made the value.
  void place_gradients(int u) {
    if (!backward_[at(u)].runs) return;
    bool joined = !reuse_;
    for (std::size_t i = 0; i < unit(u).inputs.size(); ++i) {
      const int value = unit(u).inputs[i];
      const auto& gradient = backward_[at(u)].inputs[i];
      if (!gradient.wanted || gradient.add) continue;
      const int own = plan_.gradient[at(unit(u).output)];
      const int last = backward_time(producer_[at(value)]);
      if (!joined && own >= 0 && bytes(value) == bytes(unit(u).output) &&
          unit(u).kernel->gradient_in_place(static_cast<int>(i))) {
        plan_.gradient[at(value)] = own;
        live_until(own, last);
        joined = true;
      } else if (may_replace(u, static_cast<int>(i))) {
        plan_.gradient[at(value)] = plan_.activation[at(value)];
        live_until(plan_.gradient[at(value)], last);
      } else {
        plan_.gradient[at(value)] = add_block(bytes(value), backward_time(u), last);
      }
    }
  }

  void place_scratch() {
    std::size_t largest = 0;
    for (const Unit& each : units_.units) largest = std::max(largest, each.kernel->workspace_bytes());
    if (largest > 0) plan_.workspace = add_block(largest, 0, end());
  }

  const Graph& graph_;
  const Units& units_;
  const std::vector<BackwardStep>& backward_;
  bool reuse_;
  int count_;
  std::vector<int> producer_;   ///< per value: unit, -1 when fed
  std::vector<int> last_read_;  ///< per value: time
  std::vector<int> readers_;    ///< per value: how many unit inputs
  MemoryPlan plan_;
};

}  // namespace

MemoryPlan plan_memory(const Graph& graph, const Units& units, const std::vector<BackwardStep>& backward,
                       bool reuse) {
  return MemoryPlanner(graph, units, backward, reuse).plan();
}

}  // namespace lockstep::models
