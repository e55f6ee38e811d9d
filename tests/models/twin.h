// The same graph on two backends with the same parameters and samples: what a backend computes is compared
// with the reference backend in double.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/executor.h"

namespace lockstep::models::testing {

using BuildGraph = std::function<void(GraphBuilder&)>;
using Tensors = std::map<std::string, std::vector<double>>;  ///< by name, canonical

/// How a run goes.
struct RunSettings {
  std::string_view backend = "cpu";
  Mode mode = Mode::train;
  int microbatches = 1;  ///< gradients and statistics accumulate over them
  std::int64_t rows = -1;
  bool losses_only = false;  ///< no prediction is read
  bool fuse = true;
  bool reuse_memory = true;
  std::int64_t ids = 5;  ///< ids and labels lie in [0, ids)
  int threads = 1;
  int first = 0;               ///< number of the first microbatch: other samples
  double offset = 0;           ///< added to the input
  Dtype compute = Dtype::f32;  ///< of the backend; 16 bits: parameters are rounded first
  float loss_scale = 1;        ///< of the backend on a GPU: its gradients are as many times larger until read
  bool tf32 = false;
};

/// Losses, prediction, parameter gradients and batch statistics of the last microbatch or summed over all.
struct RunResult {
  std::vector<double> losses, prediction;
  Tensors gradients, statistics;
  double mean_loss = 0;
  std::string ops;  ///< the fused operations of the plan, joined by spaces
};

[[nodiscard]] Graph make_graph(const BuildGraph& build, std::int64_t microbatch);

/// Runs on the reference backend in double, on the backend that the settings name, or on a given one.
[[nodiscard]] RunResult run_reference(const Graph& graph, const RunSettings& settings);
[[nodiscard]] RunResult run_backend(const Graph& graph, const RunSettings& settings);
[[nodiscard]] RunResult run_on(Backend& backend, const Graph& graph, const RunSettings& settings);

/// Largest difference over the largest number of `expected` (at least `floor`).
[[nodiscard]] double relative_error(const std::vector<double>& actual, const std::vector<double>& expected,
                                    double floor = 1e-3);

/// Expects every tensor of the backend's run to agree with the reference's within `tolerance`.
void expect_agreement(const Graph& graph, const RunSettings& settings, double tolerance = 1e-5);
void expect_close(const RunResult& actual, const RunResult& expected, double tolerance);

/// An image or sequence that parameters lie before, so that the operation under test gets an input gradient:
/// `shape` is the shape that it sees.
[[nodiscard]] int image_behind_parameters(GraphBuilder& builder, const Shape& sample);
[[nodiscard]] int sequence_behind_parameters(GraphBuilder& builder, const Shape& sample);

}  // namespace lockstep::models::testing
