// The ONNX backend's operator vectors on one of our backends (LOCKSTEP_ONNX_BACKEND: a target per backend).
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <ostream>
#include <set>

#include "onnx_runner.h"

namespace lockstep::models::testing {

void PrintTo(const OnnxCase& each, std::ostream* out) { *out << each.name; }

namespace {

const std::string kFile = std::string(LOCKSTEP_SHARED_DATA) + "/onnx-node-vectors/onnx_node_vectors_dev.h5";

/// Empty, when the file is not there.
const std::vector<OnnxCase>& all_cases() {
  static const std::vector<OnnxCase> cases =
      std::filesystem::exists(kFile) ? load_onnx_cases(kFile) : std::vector<OnnxCase>{};
  return cases;
}

std::vector<OnnxCase> applicable_cases() {
  std::vector<OnnxCase> some;
  for (const OnnxCase& each : all_cases()) {
    if (why_not_applicable(each).empty()) some.push_back(each);
  }
  return some;
}

double worst_error(const std::vector<double>& got, const std::vector<double>& wanted) {
  if (got.size() != wanted.size()) return INFINITY;
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    worst = std::max(worst, std::abs(got[i] - wanted[i]) / (1 + std::abs(wanted[i])));
  }
  return worst;
}

constexpr double kTolerance = 1e-5;

class OnnxVector : public ::testing::TestWithParam<OnnxCase> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(OnnxVector);

TEST_P(OnnxVector, agrees) {
  const auto got = run_onnx_case(GetParam(), LOCKSTEP_ONNX_BACKEND);
  EXPECT_LT(worst_error(got, GetParam().outputs[0].values), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Onnx, OnnxVector, ::testing::ValuesIn(applicable_cases()),
                         [](const auto& each) { return each.param.name; });

/// The operators of which some case does not apply, with the number of such cases.
const std::map<std::string, int> kNotApplicable{{"Adagrad", 1},
                                                {"Attention", 3},
                                                {"AveragePool", 2},
                                                {"Clip", 6},
                                                {"ConvTranspose", 1},
                                                {"Gather", 2},
                                                {"MaxPool", 2},
                                                {"NegativeLogLikelihoodLoss", 6},
                                                {"Pad", 2},
                                                {"ReduceSum", 7},
                                                {"ReduceSumSquare", 3},
                                                {"Resize", 3},
                                                {"Sigmoid", 1},
                                                {"SoftmaxCrossEntropyLoss", 6},
                                                {"Softplus", 1},
                                                {"Transpose", 5}};

TEST(OnnxVectors, every_case_runs_or_is_known_not_to_apply) {
  if (all_cases().empty()) GTEST_SKIP() << "no " << kFile;
  std::map<std::string, int> left_out;
  for (const OnnxCase& each : all_cases()) {
    const std::string why = why_not_applicable(each);
    if (why.empty()) continue;
    ++left_out[each.op];
    std::printf("not applicable: %s (%s)\n", each.name.c_str(), why.c_str());
  }
  EXPECT_EQ(left_out, kNotApplicable);
  EXPECT_EQ(all_cases().size(), 137u);
}

TEST(OnnxVectors, a_wrong_attribute_is_noticed) {
  if (all_cases().empty()) GTEST_SKIP() << "no " << kFile;
  const std::map<std::string, std::string> wrong{
      {"test_conv_with_strides_padding",
       R"({"pads": [1, 1, 1, 1], "strides": [2, 2], "dilations": [1, 1], "group": 1})"},
      {"test_leakyrelu_example", R"({"alpha": 0.1001})"},
      {"test_layer_normalization_3d_axis2_epsilon", R"({"axis": 2, "epsilon": 0.101})"},
      {"test_sce_mean_no_weight_ii_log_prob", R"({"reduction": "mean"})"},
      {"test_averagepool_2d_pads_count_include_pad", R"({"kernel_shape": [3, 3], "pads": [2, 2, 2, 2]})"}};
  for (OnnxCase each : all_cases()) {
    const auto found = wrong.find(each.name);
    if (found == wrong.end()) continue;
    each.attributes = found->second;
    if (each.op == "Conv")
      std::swap(each.inputs[1].values[0], each.inputs[1].values[8]), each.inputs[1].values[0] += 1;
    const auto got = run_onnx_case(each, LOCKSTEP_ONNX_BACKEND);
    EXPECT_GT(worst_error(got, each.outputs[0].values), kTolerance) << each.name;
  }
}

}  // namespace
}  // namespace lockstep::models::testing
