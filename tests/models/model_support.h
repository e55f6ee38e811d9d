// Tasks and small settings that the tests of models share.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/parameters.h"
#include "models/model.h"

namespace lockstep::models {

using Given = std::vector<std::pair<std::string, std::string>>;

inline std::unique_ptr<Model> make_model(std::string_view name, const Given& given = {}) {
  return models().create(name, Options::of(models().row(name).settings, given));
}
inline OpSpec make_loss(std::string_view name, const Given& given = {}) {
  return losses().create(name, Options::of(losses().row(name).settings, given))->spec();
}

inline Task images(const Shape& image, std::int64_t classes) {
  return {.input = image, .input_dtype = Dtype::f32, .target = Shape{}, .classes = classes};
}
inline Task tokens(std::int64_t length, std::int64_t vocabulary) {
  return {.input = Shape{length}, .input_dtype = Dtype::i32, .target = Shape{length}, .classes = vocabulary};
}
inline Task fields(const Shape& input, const Shape& target) {
  return {.input = input, .input_dtype = Dtype::f32, .target = target, .classes = 0};
}

inline Graph graph_of(std::string_view name, const Given& given, const Task& task,
                      std::int64_t microbatch = 1) {
  const OpSpec loss = make_loss(task.classes > 0 ? "softmax_cross_entropy" : "mse");
  return build_graph(*make_model(name, given), task, microbatch, &loss);
}
inline std::int64_t parameters_of(const Graph& graph) {
  std::int64_t count = 0;
  for (const auto& parameter : graph.parameters()) count += parameter.shape.count();
  return count;
}

}  // namespace lockstep::models
