// Runs a graph on a backend: asks for kernels (fused where the backend accepts), plans activation memory in
// one arena, fixes the order in which backward completes parameter gradients, and then only enqueues.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/parameters.h"
#include "models/graph.h"
#include "models/ops/kernel.h"

namespace lockstep::models {

/// Called on the host after a node's backward was enqueued: slots [0, slots) of the layout are then complete
/// in stream order.
using ReadyHook = std::function<void(int slots)>;

/// One line of the plan, for --dry-run and bench.
struct NodeReport {
  std::string name;
  std::string op;  ///< with the fused ops: "conv2d+relu"
  Shape output;
  std::int64_t parameters = 0;
  std::size_t activation_bytes = 0;
  bool repeated = false;  ///< its forward runs again in backward
  Work work;
};

struct ExecutorOptions {
  bool training = true;  ///< false: no gradients, less memory; also so for a graph without a loss
  bool fuse = true;
  /// False: every tensor keeps its own memory to the end, so that run_kernel() finds what it needs.
  bool reuse_memory = true;
  /// Keeps the values between segments of the graph only, and runs the rest of forward a second time in
  /// backward (models/recompute.h): less memory, more work, the same bits.
  bool recompute = false;
  /// Plans without memory: for reports. Nothing can be run.
  bool plan_only = false;
};

class Executor {
 public:
  virtual ~Executor() = default;

  /// Slots in the order in which backward completes them; the same on every rank.
  [[nodiscard]] virtual const SlotLayout& parameter_layout() const noexcept = 0;
  [[nodiscard]] virtual const SlotLayout& state_layout() const noexcept = 0;
  [[nodiscard]] virtual const Graph& graph() const noexcept = 0;

  /// Feeds dense host elements ([microbatch, ...] in the value's dtype) in stream order; `host` must stay
  /// valid until the stream passed.
  virtual void feed(const void* input, const void* target, Stream& stream) = 0;
  /// Forward to the loss (or to the prediction when there is no loss). `pass` is copied.
  virtual void forward(const Pass& pass, Stream& stream) = 0;
  /// Backward of the mean loss of the last forward, times `pass`-independent 1: gradients of the microbatch's
  /// mean loss.
  virtual void backward(const Pass& pass, const ReadyHook& ready, Stream& stream) = 0;
  /// Adds the mean loss of the last forward (over rows that count) to *sum_f32 in stream order.
  virtual void add_loss(float* sum, Stream& stream) = 0;
  /// Dense host copies in stream order, f32 (on the double reference backend: f64): per-row losses
  /// (kIgnoredRow where a row does not count) and the prediction. To be called after forward and before the
  /// next feed; the prediction also before backward.
  virtual void read_losses(void* rows, Stream& stream) = 0;
  virtual void read_prediction(void* prediction, Stream& stream) = 0;

  [[nodiscard]] virtual std::vector<NodeReport> report() const = 0;
  /// Bytes of activations, gradients of activations, saved tensors and workspace.
  [[nodiscard]] virtual std::size_t arena_bytes() const noexcept = 0;
  /// Kernels in forward order, as in report(). Runs one's forward or backward alone, as often as wanted after
  /// a whole forward and backward; for bench. Needs reuse_memory = false, else throws Fault::internal.
  [[nodiscard]] virtual int kernels() const noexcept = 0;
  virtual void run_kernel(int kernel, bool backward, const Pass& pass, Stream& stream) = 0;
};

/// The graph and backend must outlive the executor; streams must have run its work before it goes. Throws
/// Fault::config when the backend lacks an op, or when a parameter does not influence the loss.
[[nodiscard]] std::unique_ptr<Executor> make_executor(const Graph& graph, Backend& backend,
                                                      const ExecutorOptions& options = {});

/// Writes every parameter's initial values (keyed by slot name and seed) and resets state (mean 0, variance
/// 1).
void initialise(const Graph& graph, std::uint64_t seed, ParameterStore& store);

}  // namespace lockstep::models
