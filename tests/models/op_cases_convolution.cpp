// Cases of convolutions, plain and transposed, at channel counts around the blocks of libraries.
#include "op_cases.h"

namespace lockstep::models::testing {
namespace {

OpCase convolution(const std::string& name, const Shape& sample, const Conv2d& spec) {
  return {name, [=](GraphBuilder& b) {
            b.predict(b.conv2d(image_behind_parameters(b, sample), "op", spec, {}));
            b.loss(MeanSquaredError{});
          }};
}
OpCase transposed(const std::string& name, const Shape& sample, const ConvTranspose2d& spec) {
  return {name, [=](GraphBuilder& b) {
            b.predict(b.conv_transpose2d(image_behind_parameters(b, sample), "op", spec, {}));
            b.loss(MeanSquaredError{});
          }};
}

}  // namespace

std::vector<OpCase> convolution_cases() {
  std::vector<OpCase> cases;
  for (std::int64_t in : {1, 3, 7, 16, 17}) {
    for (std::int64_t out : {1, 7, 16, 17}) {
      cases.push_back(convolution("conv_" + std::to_string(in) + "_to_" + std::to_string(out), {in, 6, 5},
                                  {.out_channels = out, .padding = {1, 1}}));
    }
  }
  cases.push_back(
      convolution("conv_no_bias", {3, 6, 5}, {.out_channels = 8, .padding = {1, 1}, .bias = false}));
  cases.push_back(
      convolution("conv_stride_2", {3, 7, 8}, {.out_channels = 5, .stride = {2, 2}, .padding = {1, 1}}));
  cases.push_back(
      convolution("conv_1x1_stride_2", {4, 7, 8}, {.out_channels = 6, .kernel = {1, 1}, .stride = {2, 2}}));
  cases.push_back(convolution("conv_oblong", {3, 9, 8},
                              {.out_channels = 5, .kernel = {5, 2}, .stride = {1, 3}, .padding = {2, 0}}));
  cases.push_back(
      convolution("conv_dilated", {3, 9, 9}, {.out_channels = 4, .padding = {2, 2}, .dilation = {2, 2}}));
  cases.push_back(
      convolution("conv_groups_2", {6, 6, 6}, {.out_channels = 4, .padding = {1, 1}, .groups = 2}));
  cases.push_back(
      convolution("conv_groups_wide", {32, 5, 5}, {.out_channels = 48, .padding = {1, 1}, .groups = 2}));
  cases.push_back(
      convolution("conv_depthwise", {9, 6, 6}, {.out_channels = 9, .padding = {1, 1}, .groups = 9}));
  cases.push_back(
      convolution("conv_depth_multiplier", {5, 6, 6}, {.out_channels = 10, .padding = {1, 1}, .groups = 5}));
  cases.push_back(convolution("conv_whole_image", {4, 5, 5}, {.out_channels = 3, .kernel = {5, 5}}));
  cases.push_back(convolution("conv_7x7", {3, 16, 16},
                              {.out_channels = 16, .kernel = {7, 7}, .stride = {2, 2}, .padding = {3, 3}}));
  cases.push_back(transposed("transposed", {3, 4, 5}, {.out_channels = 5}));
  cases.push_back(
      transposed("transposed_3x3", {8, 4, 5},
                 {.out_channels = 6, .kernel = {3, 3}, .padding = {1, 1}, .output_padding = {1, 1}}));
  cases.push_back(transposed("transposed_no_bias", {7, 4, 4}, {.out_channels = 17, .bias = false}));
  cases.push_back(transposed("transposed_groups", {6, 4, 4}, {.out_channels = 4, .groups = 2}));
  cases.push_back(transposed("transposed_dilated", {2, 4, 4},
                             {.out_channels = 3, .kernel = {3, 3}, .stride = {1, 1}, .dilation = {2, 2}}));
  cases.push_back(transposed("transposed_output_padding_by_dilation", {2, 4, 4},
                             {.out_channels = 3,
                              .kernel = {3, 3},
                              .stride = {1, 1},
                              .padding = {2, 2},
                              .output_padding = {1, 1},
                              .dilation = {2, 2}}));
  return cases;
}

}  // namespace lockstep::models::testing
