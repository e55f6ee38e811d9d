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

}  // namespace lockstep::models
