// The few pieces that several models are made of, and the initial values they share.
#pragma once

#include <string>
#include <string_view>

#include "core/options.h"
#include "models/graph.h"
#include "models/model.h"

namespace lockstep::models {

/// Rows that every model with batch norm declares.
inline constexpr Setting kSynchronisedNorm{"synchronised_norm", SettingType::boolean, "false",
                                           "batch norm uses the statistics of all ranks' microbatches"};

/// Throws Fault::config unless samples are images [C, H, W] of floats.
void expect_images(const Task& task, std::string_view model);
/// Throws Fault::config unless there is one class label per sample.
void expect_labels(const Task& task, std::string_view model);

/// N(0, 2 / (out * kh * kw)): He et al. 2015, fan-out, as torchvision initialises.
[[nodiscard]] Init he_fan_out(std::int64_t out_channels, Pair kernel);
/// U(-1/sqrt(fan_in), 1/sqrt(fan_in)): PyTorch's default for linear and convolution weights and biases.
[[nodiscard]] Init uniform_fan_in(std::int64_t fan_in);

/// A bias-free convolution and its batch norm.
struct ConvNorm {
  std::string conv, norm;  ///< node names
  Conv2d spec;             ///< its `bias` is not used
  BatchNorm batch_norm = {};
  float gamma = 1;  ///< initial weight of the norm
};
int conv_norm(GraphBuilder& builder, int x, const ConvNorm& block);

int relu(GraphBuilder& builder, int x, const std::string& name);
/// `x` itself when the rate is 0.
int dropout(GraphBuilder& builder, int x, double rate, const std::string& name);
/// `x` itself when it has one axis besides the samples.
int flatten(GraphBuilder& builder, int x);
/// A linear layer with PyTorch's default initialisation.
int linear(GraphBuilder& builder, int x, const std::string& name, std::int64_t features);

}  // namespace lockstep::models
