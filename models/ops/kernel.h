// An operation on one backend. A kernel is made once per node for fixed shapes, chooses the storage order of
// its output and of its parameters, prepares its library plans, is bound once to its memory, and then only
// runs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "core/flat_span.h"
#include "core/shape.h"
#include "core/storage.h"
#include "core/stream.h"
#include "models/graph.h"

namespace lockstep {
class Trace;
}

namespace lockstep::models {

/// An activation as the backend stores it. `storage` null: dense. Stored elements = storage->stored_count()
/// or shape.count().
struct TensorLayout {
  Shape shape;
  Dtype dtype = Dtype::f32;
  StorageOrderPtr storage;
  [[nodiscard]] std::int64_t stored_count() const {
    return storage ? storage->stored_count() : shape.count();
  }
};

/// Work of one call, for utilisation and prediction.
struct Work {
  double forward_flops = 0, backward_flops = 0;  ///< multiply and add count as two
  double forward_bytes = 0, backward_bytes = 0;  ///< least memory traffic
};

enum class Mode : std::uint8_t { train, evaluate };

/// What changes from call to call. The arrays are flat arrays of the layouts; a kernel adds its slots'
/// offsets. Lives until the enqueued work has run (the executor keeps it).
struct Pass {
  Mode mode = Mode::train;
  FlatSpan values;      ///< parameters, f32 (masters)
  FlatSpan working;     ///< parameters in the compute dtype; equal to `values` when that is f32
  FlatSpan gradients;   ///< in BackendOptions::gradients; backward writes here
  FlatSpan state;       ///< running statistics, read in evaluation
  FlatSpan statistics;  ///< like state: forward in training writes this microbatch's statistics
  /// True: parameter gradients and statistics are added to what is there; false: overwritten. The executor
  /// also sets it for every writer but the first of a tied slot, so kernels need not know of tying.
  bool accumulate = false;
  std::uint64_t seed = 0;  ///< of dropout
  std::int64_t first_sample =
      0;  ///< global number of the microbatch's first sample over the whole training: keys dropout
  std::int64_t rows =
      -1;  ///< loss: only the first `rows` samples count (a padded last evaluation batch); -1: all
  /// On a GPU, when given: the sample's number lies there instead, so that a captured step finds each step's
  /// own.
  const std::int64_t* first_sample_at = nullptr;
  /// Multiplies the gradient of the loss, when given; on the backend's device.
  const float* loss_scale = nullptr;
  /// Nobody asks for the prediction of this forward, and backward follows with an equal pass: a loss may
  /// already leave its gradient in its place.
  bool losses_only = false;
  /// For measurements: attention runs its matrix products alone, on whatever lies in memory.
  bool products_only = false;
  /// Where an executor tells what kernels do when; null: nowhere.
  Trace* trace = nullptr;
};

/// What a loss kernel writes for a row that does not count (its target is ignored, or its sample lies at or
/// after Pass::rows). Losses are never negative, so every row says itself whether it counts.
inline constexpr float kIgnoredRow = -1.0f;

/// Memory of one kernel (node and fused nodes: inputs and parameters in that order); pointers stay valid as
/// long as the kernel. A null input gradient is not wanted.
struct Bindings {
  std::vector<void*> inputs;
  void* output = nullptr;
  /// Null for a loss. Backward may overwrite it: nobody reads it afterwards. It has the address of an input
  /// gradient only where gradient_in_place() allows that.
  void* output_gradient = nullptr;
  struct InputGradient {
    void* data = nullptr;
    bool add = false;  ///< a later writer adds, the first overwrites
  };
  std::vector<InputGradient> input_gradients;
  std::vector<std::int64_t> parameters;  ///< element offsets of the node's slots in the flat arrays
  std::vector<std::int64_t> states;
  void* saved = nullptr;  ///< lives from forward to backward: saved_bytes()
  void* workspace =
      nullptr;  ///< scratch within one call: workspace_bytes(), shared with other kernels of the stream
};

class Kernel {
 public:
  virtual ~Kernel() = default;
  /// Decided when made.
  [[nodiscard]] virtual TensorLayout output() const = 0;
  /// Storage order of each parameter (null: dense).
  [[nodiscard]] virtual std::vector<StorageOrderPtr> parameter_storage() const { return {}; }
  [[nodiscard]] virtual std::size_t saved_bytes() const { return 0; }
  [[nodiscard]] virtual std::size_t workspace_bytes() const { return 0; }
  /// Which tensors backward reads, so that the planner may free the others: default all.
  [[nodiscard]] virtual bool backward_needs_input(int) const { return true; }
  [[nodiscard]] virtual bool backward_needs_output() const { return true; }
  /// True when forward works with the output in the memory of input 0 (equal bytes). The planner uses it only
  /// where nobody reads that input later.
  [[nodiscard]] virtual bool in_place() const { return false; }
  /// True when backward works with gradient `input` in the memory of the output gradient (equal bytes). It is
  /// then an overwriting one (add = false); a kernel that only passes the gradient on has nothing to do.
  [[nodiscard]] virtual bool gradient_in_place(int input) const { return input == 0 && in_place(); }
  /// True when backward works with gradient `input` in the memory of that input itself (equal bytes), which
  /// it overwrites. The planner uses it only where nobody reads the input later.
  [[nodiscard]] virtual bool gradient_over_input(int) const { return false; }
  [[nodiscard]] virtual Work work() const = 0;

  virtual void bind(const Bindings& bindings) = 0;
  /// Enqueue.
  virtual void forward(const Pass& pass, Stream& stream) = 0;
  virtual void backward(const Pass& pass, Stream& stream) = 0;
};

/// Sums an f32 array over ranks in stream order: what synchronised batch norm needs of the outside world.
using SumHook = std::function<void(FlatSpan, Stream&)>;

struct BackendOptions {
  Device device = {};            ///< which GPU, for backends that have a choice
  Dtype compute = Dtype::f32;    ///< f32 or bf16; on a GPU also f16
  Dtype gradients = Dtype::f32;  ///< of the gradient array; bf16 only on a GPU that computes in bf16
  bool tf32 = false;             ///< f32 products may round their operands to TF32 (GPUs only)
  bool tune = false;             ///< on a GPU: time the libraries' algorithms and keep the fastest
  bool repeatable = false;       ///< on a GPU: the same bits again also where that is slower
  int threads = 1;               ///< library threads of the compute stream
  SumHook sum;                   ///< empty: a lone rank
  int ranks = 1;                 ///< how many ranks the hook sums over
};

/// What a kernel is made from. `fused` lists further nodes this kernel runs after `node` (bias, activation,
/// residual add), empty when none.
struct KernelRequest {
  const Graph* graph = nullptr;
  const Node* node = nullptr;
  std::vector<const Node*> fused;
  std::vector<TensorLayout> inputs;  ///< of node, then the extra inputs of the fused nodes
  bool training = true;              ///< false: backward never runs
};

class Backend {
 public:
  virtual ~Backend() = default;
  [[nodiscard]] virtual std::string_view name() const noexcept = 0;
  [[nodiscard]] virtual Device device() const noexcept = 0;
  /// Null when a request with fused nodes is declined (the executor then asks for fewer nodes at once).
  /// Throws Fault::config when the backend has no such op or dtype, naming it.
  [[nodiscard]] virtual std::unique_ptr<Kernel> make(const KernelRequest& request) = 0;
  /// How the graph's input or target is stored: dense in the value's dtype unless the backend prefers
  /// another order, or another dtype for floats; upload() converts.
  [[nodiscard]] virtual TensorLayout input_layout(const ValueSpec& value) const {
    return {value.shape, value.dtype, nullptr};
  }
  /// Copies dense host elements into a stored tensor and back, in stream order (input feeding, prediction
  /// reading). Host elements are i32 for ids and classes, else f32 whatever the stored dtype is (on the
  /// double reference backend: f64).
  virtual void upload(const void* host, const TensorLayout& layout, void* stored, Stream& stream) = 0;
  virtual void download(const void* stored, const TensorLayout& layout, void* host, Stream& stream) = 0;
  /// Adds the mean of the per-row losses that count (0 when none does) to *sum, in stream order. Default: for
  /// dense f32 or f64 losses on the host.
  virtual void add_mean_loss(const void* losses, const TensorLayout& layout, float* sum, Stream& stream);
  /// Seconds on the device's own clock from the begin to the end of the work that `enqueue` enqueues. Blocks.
  /// Default: the wall clock, read by tasks of the stream.
  [[nodiscard]] virtual double seconds_of(const std::function<void()>& enqueue, Stream& stream);
};

/// Backends by name: "reference" (plain loops: the judge, always built), "cpu" (oneDNN). Throws Fault::device
/// with the cure when this build lacks it.
[[nodiscard]] std::unique_ptr<Backend> make_backend(std::string_view name, const BackendOptions& options);
[[nodiscard]] std::vector<std::string_view> backend_names();

}  // namespace lockstep::models
