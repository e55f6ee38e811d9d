// One kernel of the double reference backend, made from the last node of a small graph, with its own memory:
// for checks of one operation's forward and backward, without an executor.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/stream.h"
#include "models/graph.h"
#include "models/ops/kernel.h"

namespace lockstep::models::testing {

/// Adds nodes and predicts (or adds a loss); the last node is the one under test.
using BuildGraph = std::function<void(GraphBuilder&)>;

class OneKernel {
 public:
  OneKernel(const BuildGraph& build, std::int64_t microbatch, const BackendOptions& options = {});

  void forward();
  /// Gradients of sum(output * output_gradient), or of the mean loss.
  void backward();
  /// The number whose gradient backward computes.
  [[nodiscard]] double objective();

  [[nodiscard]] const Graph& graph() const { return graph_; }
  [[nodiscard]] const Node& node() const { return graph_.nodes().back(); }
  [[nodiscard]] const std::vector<double>& output() const { return output_; }

  /// Free to change between calls; the kernel is bound to the memory of the inputs and gradients, so write
  /// their elements and do not move other vectors in.
  Pass pass;
  std::vector<std::vector<double>> inputs;                   ///< of float inputs; empty for ids
  std::vector<std::vector<std::int32_t>> ids;                ///< of id inputs; empty for floats
  std::vector<std::vector<double>> input_gradients;          ///< as inputs
  std::vector<double> values, gradients, state, statistics;  ///< flat arrays, slots one after another
  std::vector<double> output_gradient;

 private:
  [[nodiscard]] std::vector<std::int64_t> place(std::span<const ParameterSpec> specs,
                                                const std::vector<int>& used, std::vector<double>& array);
  void make_inputs(Bindings& bindings);
  void fill_ids(std::size_t input);
  [[nodiscard]] bool is_loss() const { return graph_.loss() >= 0; }

  Graph graph_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Kernel> kernel_;
  std::unique_ptr<Stream> stream_;
  std::vector<double> output_;
  std::vector<std::byte> saved_, workspace_;
};

/// Deterministic numbers, roughly standard normal.
[[nodiscard]] std::vector<double> random_values(std::size_t count, const std::string& purpose);

}  // namespace lockstep::models::testing
