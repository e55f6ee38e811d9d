// Initial values of parameters and state.
#include <vector>

#include "core/random.h"
#include "models/executor.h"

namespace lockstep::models {
namespace {

std::vector<float> initial_values(const ParameterSpec& spec, std::uint64_t seed) {
  std::vector<float> values(static_cast<std::size_t>(spec.shape.count()), spec.init.value);
  if (spec.init.kind == Init::Kind::constant) return values;
  const RandomSource source(seed, "init:" + spec.name, 0);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] *= spec.init.kind == Init::Kind::normal ? source.normal(i) : 2 * source.uniform(i) - 1;
  }
  return values;
}

}  // namespace

void initialise(const Graph& graph, std::uint64_t seed, ParameterStore& store) {
  for (const ParameterSpec& spec : graph.parameters()) store.write(spec.name, initial_values(spec, seed));
  for (const ParameterSpec& spec : graph.states()) store.write(spec.name, initial_values(spec, seed));
}

}  // namespace lockstep::models
