// A whole small graph on the double reference backend, with its arrays: for tests of executor, plan and
// fusion.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/stream.h"
#include "models/executor.h"

namespace lockstep::models::testing {

using BuildGraph = std::function<void(GraphBuilder&)>;

[[nodiscard]] Graph make_graph(const BuildGraph& build, std::int64_t microbatch);

/// Convolutions with batch norm around a shortcut, pooled, classified: shared values, state.
[[nodiscard]] Graph residual_graph(std::int64_t microbatch = 3);
/// Down, up, concat with the skipped level: a field to a field.
[[nodiscard]] Graph concat_graph(std::int64_t microbatch = 2);
/// One transformer block with a tied embedding.
[[nodiscard]] Graph tied_graph(std::int64_t microbatch = 2, float dropout = 0.2f);

/// Numbers that name every graph above, for parameterised tests.
struct NamedGraph {
  std::string name;
  Graph (*make)();
};
[[nodiscard]] std::vector<NamedGraph> named_graphs();

class WholeGraph {
 public:
  /// `backend` null: an own double reference backend.
  explicit WholeGraph(Graph graph, const ExecutorOptions& options = {}, Backend* backend = nullptr);

  /// Feeds the inputs, runs forward, returns the mean loss over rows that count.
  double forward();
  /// Backward of the last forward; `ready` as of Executor.
  void backward(const ReadyHook& ready = {});

  [[nodiscard]] Executor& executor() { return *executor_; }
  [[nodiscard]] const Graph& graph() const { return graph_; }
  [[nodiscard]] Stream& stream() { return *stream_; }

  Pass pass;
  std::vector<double> input, target, values, gradients, state, statistics;
  std::vector<std::int32_t> input_ids, target_ids;  ///< used instead when the graph's dtypes are i32
  std::vector<double> losses;

 private:
  Graph graph_;
  std::unique_ptr<Backend> own_backend_;
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<Stream> stream_;
};

}  // namespace lockstep::models::testing
