// Joins a model, a task and a loss into one graph, and checks that they mean the same thing.
#include "models/model.h"

#include <spdlog/fmt/fmt.h>

#include "core/error.h"

namespace lockstep::models {
namespace {

void check_loss(const Task& task, const OpSpec& loss) {
  const bool labels = std::holds_alternative<SoftmaxCrossEntropy>(loss);
  if (labels == (task.classes > 0)) return;
  throw Error(Fault::config,
              fmt::format("loss '{}' does not fit a data set with {}", op_name(loss),
                          labels ? "fields as targets" : fmt::format("{} classes", task.classes)),
              labels ? "set loss.name to mse or smooth_l1" : "set loss.name to softmax_cross_entropy");
}

void check_target(const Graph& graph, const Task& task) {
  const Shape& wanted = graph.values()[static_cast<std::size_t>(graph.target())].shape;
  if (wanted.count() == graph.microbatch() * task.target.count()) return;
  throw Error(Fault::config,
              fmt::format("the model compares {} numbers per sample with targets {} of the data set",
                          wanted.count() / graph.microbatch(), task.target.text()),
              "choose a model whose output has the targets' shape");
}

}  // namespace

Graph build_graph(const Model& model, const Task& task, std::int64_t microbatch, const OpSpec* loss) {
  if (loss != nullptr) check_loss(task, *loss);
  GraphBuilder builder(microbatch);
  model.build(builder, task);
  if (loss != nullptr) builder.loss(*loss);
  Graph graph = std::move(builder).finish();
  if (loss != nullptr) check_target(graph, task);
  return graph;
}

}  // namespace lockstep::models
