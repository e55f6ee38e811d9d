#include "models/fusion.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "core/error.h"

namespace lockstep::models {
namespace {

using Pattern = std::array<std::string_view, 4>;  ///< op names; empty: shorter

constexpr std::array kPatterns{
    Pattern{"linear", "gelu", "linear", "add"},
    Pattern{"linear", "gelu", "linear"},
    Pattern{"batch_norm", "add", "relu"},
    Pattern{"linear", "dropout", "add"},
    Pattern{"conv2d", "add", "relu"},
    Pattern{"batch_norm", "relu"},
    Pattern{"batch_norm", "leaky_relu"},
    Pattern{"batch_norm", "add"},
    Pattern{"conv2d", "relu"},
    Pattern{"conv2d", "leaky_relu"},
    Pattern{"conv2d", "gelu"},
    Pattern{"conv2d", "add"},
    Pattern{"conv_transpose2d", "relu"},
    Pattern{"linear", "relu"},
    Pattern{"linear", "leaky_relu"},
    Pattern{"linear", "gelu"},
    Pattern{"linear", "dropout"},
    Pattern{"linear", "add"},
    Pattern{"dropout", "add"},
    Pattern{"add", "relu"},
    Pattern{"add", "layer_norm"},
};

using Chain = std::vector<const Node*>;

enum class Match { none, prefix, whole };

Match match(const Chain& chain) {
  Match best = Match::none;
  for (const Pattern& pattern : kPatterns) {
    const auto length =
        static_cast<std::size_t>(std::ranges::count_if(pattern, [](auto op) { return !op.empty(); }));
    if (chain.size() > length) continue;
    const bool equal =
        std::ranges::equal(chain, std::span(pattern).first(chain.size()),
                           [](const Node* node, auto op) { return op_name(node->spec) == op; });
    if (equal && chain.size() == length) return Match::whole;
    if (equal) best = Match::prefix;
  }
  return best;
}

class UnitMaker {
 public:
  UnitMaker(const Graph& graph, Backend& backend, const FusionOptions& options)
      : graph_(graph),
        backend_(backend),
        options_(options),
        readers_(graph.values().size()),
        claimed_(graph.nodes().size(), false) {
    result_.layouts.resize(graph.values().size());
    for (int fed : {graph.input(), graph.target()}) {
      if (fed >= 0) result_.layouts[at(fed)] = backend.input_layout(graph.values()[at(fed)]);
    }
    for (const Node& node : graph.nodes()) {
      for (int input : node.inputs) readers_[at(input)].push_back(&node);
    }
  }

  /// A chain is made where its last node stands: by then all that it reads exists.
  Units make() && {
    std::vector<Chain> ending_at(graph_.nodes().size());
    for (const Node& node : graph_.nodes()) {
      if (claimed_[number(node)]) continue;
      Chain chain = options_.fuse ? chain_from(node) : Chain{&node};
      for (const Node* each : chain) claimed_[number(*each)] = true;
      ending_at[number(*chain.back())] = std::move(chain);
    }
    for (const Chain& chain : ending_at) make_chain(chain);
    return std::move(result_);
  }

 private:
  static std::size_t at(int index) { return static_cast<std::size_t>(index); }
  [[nodiscard]] std::size_t number(const Node& node) const {
    return static_cast<std::size_t>(&node - graph_.nodes().data());
  }

  /// The longest chain from `first` that is a pattern: each inner value has one reader and is not asked for.
  [[nodiscard]] Chain chain_from(const Node& first) const {
    Chain chain{&first};
    std::size_t best = 1;
    while (match(chain) != Match::none) {
      if (match(chain) == Match::whole) best = chain.size();
      const int inner = chain.back()->output;
      const auto& readers = readers_[at(inner)];
      if (readers.size() != 1 || claimed_[number(*readers[0])] || inner == graph_.prediction()) break;
      chain.push_back(readers[0]);
    }
    chain.resize(best);
    return chain;
  }

  void make_chain(std::span<const Node* const> chain) {
    while (!chain.empty()) {
      std::size_t length = chain.size();
      while (!try_make(chain.first(length))) --length;
      chain = chain.subspan(length);
    }
  }

  bool try_make(std::span<const Node* const> nodes) {
    if (nodes.size() > 1 && match({nodes.begin(), nodes.end()}) != Match::whole) return false;
    Unit unit = describe(nodes);
    KernelRequest request{.graph = &graph_,
                          .node = nodes[0],
                          .fused = {nodes.begin() + 1, nodes.end()},
                          .inputs = {},
                          .training = options_.training};
    for (int input : unit.inputs) request.inputs.push_back(result_.layouts[at(input)]);
    unit.kernel = backend_.make(request);
    if (unit.kernel == nullptr) {
      if (nodes.size() > 1) return false;
      throw Error(Fault::internal,
                  fmt::format("backend '{}' made no kernel for node '{}'", backend_.name(), nodes[0]->name));
    }
    result_.layouts[at(unit.output)] = unit.kernel->output();
    result_.units.push_back(std::move(unit));
    return true;
  }

  static Unit describe(std::span<const Node* const> nodes) {
    Unit unit;
    for (const Node* node : nodes) {
      for (int input : node->inputs) {
        if (input != unit.output) unit.inputs.push_back(input);
      }
      unit.nodes.push_back(node);
      unit.parameters.insert(unit.parameters.end(), node->parameters.begin(), node->parameters.end());
      unit.states.insert(unit.states.end(), node->states.begin(), node->states.end());
      unit.output = node->output;
    }
    return unit;
  }

  const Graph& graph_;
  Backend& backend_;
  FusionOptions options_;
  std::vector<std::vector<const Node*>> readers_;  ///< per value, one entry per use
  std::vector<bool> claimed_;                      ///< per node: already part of a chain
  Units result_;
};

}  // namespace

Units make_units(const Graph& graph, Backend& backend, const FusionOptions& options) {
  return UnitMaker(graph, backend, options).make();
}

}  // namespace lockstep::models
