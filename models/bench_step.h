// Measures where a training step spends its time: every kernel alone, forward and backward, beside the whole
// step, and the rate of a large matrix product as the machine's attainable peak. The engine of
// `lockstep bench step`.
//
// The bound that the CPU operations are held to is step / (convolutions, matrix products and norms run
// alone). Those are timed unfused, one operation per kernel, so that what fusion hides counts for the step
// and not for the sum. Attention counts with its matrix products only, at the measured peak.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/parameters.h"
#include "models/executor.h"

namespace lockstep::models {

/// Enqueues the optimizer's update of the values from the gradients.
using StepUpdate = std::function<void(ParameterStore& store, Stream& stream)>;

struct StepBenchOptions {
  Dtype compute = Dtype::f32;  ///< what the backend was made for
  int threads = 1;             ///< as the backend's
  int rounds = 7;              ///< each times the step and every kernel; medians over rounds are reported
  int repetitions = 3;         ///< of each thing within a round; the fastest counts
  bool fuse = true;            ///< of the step under test
  /// Clock the compute thread's processor time, not the wall: for busy machines. Meaningful for one thread.
  bool processor_time = false;
  double sustain_s =
      0;              ///< above 0: families of kernels are measured too, each for so long (bench_families.h)
  StepUpdate update;  ///< part of the step when given
};

/// One kernel of the step, timed alone (with its fused operations).
struct KernelTime {
  NodeReport node;
  double forward_s = 0, backward_s = 0;
};

/// All kernels of the step that do the same fused operations, forward and backward, run as one piece.
struct FamilyTime {
  std::string operations;  ///< as NodeReport::op
  int kernels = 0;
  double seconds = 0;
  double flops = 0, bytes = 0;  ///< of their Work, both ways
  bool products = false;        ///< convolutions, matrix products or attention: bound by arithmetic
};

/// The step in pieces, each run again and again until the clocks have settled; on a GPU each is one graph, so
/// that no time of the host is in it.
struct StepPieces {
  std::vector<FamilyTime> families;
  double kernels_s = 0;         ///< all kernels, in the step's order
  double products_s = 0;        ///< convolutions, matrix products and attention, in the step's order
  double update_s = 0;          ///< of StepBenchOptions::update, when given
  double copy_bytes_per_s = 0;  ///< of a long copy within the device's memory, read and written
};

struct StepBench {
  double peak_flops_per_s = 0;                         ///< of a matrix product in the compute dtype
  std::vector<KernelTime> kernels;                     ///< of the step under test
  double step_s = 0;                                   ///< forward, backward and update; median
  double forward_s = 0, backward_s = 0, update_s = 0;  ///< medians; forward with feeding the samples
  double step_min_s = 0, step_max_s = 0;               ///< over rounds
  double convolutions_s = 0, products_s = 0,
         norms_s = 0;  ///< alone, unfused, both ways; products also those of attention
  double step_flops = 0;
  std::size_t arena_bytes = 0;  ///< of activations and workspace, of the step under test
  /// Time of the step over the summed times of its convolutions, products and norms: the median over rounds,
  /// since what slows a machine down for a while slows both.
  double ratio = 0;
  StepPieces pieces;  ///< empty without StepBenchOptions::sustain_s

  [[nodiscard]] double flops_per_s() const { return step_flops / step_s; }
};

/// Runs the graph (which needs a loss) on made-up samples. Blocks until done; makes its own stream and
/// memory.
[[nodiscard]] StepBench bench_step(const Graph& graph, Backend& backend, const StepBenchOptions& options);

/// A table of the measurement: a line per kernel with milliseconds, share of the step and FLOP/s, then
/// totals.
[[nodiscard]] std::string table_of(const StepBench& bench);
/// The same as a JSON object: {"step_ms": {"median", ...}, ..., "kernels": [{"name", "operations", ...}]}.
[[nodiscard]] std::string json_of(const StepBench& bench);

}  // namespace lockstep::models
