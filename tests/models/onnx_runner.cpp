#include "onnx_runner.h"

#include <map>

#include "onnx_operators.h"

namespace lockstep::models::testing {
namespace {

using Run = Values (*)(const OnnxCase&, std::string_view);
const std::map<std::string, Run>& runners() {
  static const std::map<std::string, Run> table{{"Conv", run_conv},
                                                {"ConvTranspose", run_conv_transpose},
                                                {"MaxPool", run_pool},
                                                {"AveragePool", run_pool},
                                                {"GlobalAveragePool", run_global_pool},
                                                {"Gemm", run_gemm},
                                                {"MatMul", run_matmul},
                                                {"LayerNormalization", run_layer_norm},
                                                {"InstanceNormalization", run_instance_norm},
                                                {"Concat", run_concat},
                                                {"Gather", run_gather},
                                                {"Attention", run_attention},
                                                {"LogSoftmax", run_softmax},
                                                {"Softmax", run_softmax},
                                                {"SoftmaxCrossEntropyLoss", run_cross_entropy},
                                                {"ReduceMean", run_reduce_mean},
                                                {"LeakyRelu", run_leaky_relu},
                                                {"Gelu", run_gelu},
                                                {"Dropout", run_dropout},
                                                {"Flatten", run_flatten}};
  return table;
}

}  // namespace

std::string why_not_applicable(const OnnxCase& each) {
  if (each.op == "NegativeLogLikelihoodLoss") return "takes log-probabilities: ours joins softmax and loss";
  if (each.op == "Resize") return "nearest, or a scale that is no integer";
  if (each.op == "Adagrad") return "an optimizer, not an operation of a model";
  if (!runners().contains(each.op)) return "no such operation in our models";
  if (each.integer("ceil_mode", 0) != 0) return "pooling windows that reach over the edge (ceil_mode)";
  if (each.op == "SoftmaxCrossEntropyLoss" && each.inputs.size() > 2) return "class weights";
  if (each.op == "Attention" && each.integer("is_causal", 0) == 0) return "attention that is not causal";
  if (each.op == "Gather" && each.integer("axis", 0) != 0) return "rows are gathered along axis 0 only";
  if (each.op == "ConvTranspose" && each.has("auto_pad")) return "padding that differs between the two ends";
  const bool slides = each.op == "Conv" || each.op == "MaxPool" || each.op == "AveragePool";
  if (slides && !pads_of(each).symmetric()) return "padding that differs between the two ends";
  return {};
}

std::vector<double> run_onnx_case(const OnnxCase& each, std::string_view backend) {
  return runners().at(each.op)(each, backend);
}

}  // namespace lockstep::models::testing
