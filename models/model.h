// A model: a name, settings, and a function that adds its nodes to a graph.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/options.h"
#include "core/registry.h"
#include "models/graph.h"

namespace lockstep::models {

/// What the data set offers and wants; zero where it does not apply.
struct Task {
  Shape input;                     ///< of one sample: [3, 32, 32], [64] for tokens
  Dtype input_dtype = Dtype::f32;  ///< i32 for tokens
  Shape target;  ///< of one sample: [] for a class, [64] for next tokens, [1, 64, 128] for a field
  std::int64_t classes = 0;  ///< labels or vocabulary size; 0 for fields
};

class Model {
 public:
  virtual ~Model() = default;
  /// Adds nodes from input to prediction (not the loss). Throws Fault::config when the task does not fit,
  /// with the cure.
  virtual void build(GraphBuilder& builder, const Task& task) const = 0;
  /// Pairs (our slot name, name in the ecosystem's files) where they differ, and whether that file stores the
  /// transpose (GPT-2's Conv1D): used by import and export. A slot may have several: export writes the first,
  /// import takes whichever is there (all that are must be equal: tied weights stored twice).
  struct ForeignName {
    std::string ours, theirs;
    bool transposed = false;
  };
  [[nodiscard]] virtual std::vector<ForeignName> foreign_names() const { return {}; }
  /// Endings of names in such files that hold no weights (constant masks): import passes over them.
  [[nodiscard]] virtual std::vector<std::string> ignored_endings() const { return {}; }
};

[[nodiscard]] const Registry<Model>& models();

/// Losses by name (softmax_cross_entropy, mse, smooth_l1) as settings of the config kind "loss".
struct LossChoice {
  virtual ~LossChoice() = default;
  [[nodiscard]] virtual OpSpec spec() const = 0;
};
[[nodiscard]] const Registry<LossChoice>& losses();

/// The whole graph: model, then loss (null: none, for inference). Throws Fault::config when the loss or the
/// model's output does not fit the task's targets.
[[nodiscard]] Graph build_graph(const Model& model, const Task& task, std::int64_t microbatch,
                                const OpSpec* loss);

}  // namespace lockstep::models
