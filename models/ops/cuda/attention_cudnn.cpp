// Attention by cuDNN's fused kernels, on q, k and v where they lie in the packed projection. Equal shapes of
// a thread share one plan.
#define CUDNN_FRONTEND_SKIP_JSON_LIB
#include <cudnn_frontend.h>
#include <spdlog/fmt/fmt.h>

#include <cmath>
#include <map>
#include <tuple>
#include <unordered_map>

#include "core/cuda/cuda.h"
#include "core/error.h"
#include "models/ops/cuda/attention.h"
#include "models/ops/cuda/rowwise.h"

namespace lockstep::models::cuda {
namespace {

namespace fe = cudnn_frontend;
using Tensor = std::shared_ptr<fe::graph::Tensor_attributes>;
using Tensors = std::unordered_map<std::int64_t, void*>;

constexpr std::int64_t kMostDepth = 128;  ///< of a head, and a multiple of 8: what the fused kernels take

enum Uid : std::int64_t { kQ = 1, kK, kV, kY, kStats, kDy, kDq, kDk, kDv };

void check_good(fe::error_t status, const char* what) {
  if (status.is_good()) return;
  throw Error(Fault::device, fmt::format("cuDNN attention, {}: {}", what, status.get_message()));
}

/// A program built against a newer cuDNN may not run on an older one.
void check_version() {
  const std::size_t here = cudnnGetVersion();
  if (here >= CUDNN_VERSION && here / 10000 == CUDNN_MAJOR) return;
  const auto text = [](std::size_t v) { return fmt::format("{}.{}.{}", v / 10000, v / 100 % 100, v % 100); };
  throw Error(Fault::device,
              fmt::format("this build needs cuDNN {} or newer of the same major version, but {} is loaded",
                          text(CUDNN_VERSION), text(here)),
              "install that cuDNN, put it first in LD_LIBRARY_PATH, or build against the one you have");
}

class Handle {
 public:
  explicit Handle(Device device) {
    check_version();
    lockstep::cuda::use(device);
    if (const cudnnStatus_t status = cudnnCreate(&handle_); status != CUDNN_STATUS_SUCCESS)
      throw Error(Fault::device, fmt::format("cudnnCreate: {}", cudnnGetErrorString(status)));
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { static_cast<void>(cudnnDestroy(handle_)); }
  [[nodiscard]] cudnnHandle_t get() const noexcept { return handle_; }

 private:
  cudnnHandle_t handle_ = nullptr;
};

struct PlanSpec {
  AttentionShape shape;
  Dtype dtype;
  bool training, repeatable;
  Device device;
  [[nodiscard]] auto key() const {
    return std::tuple(shape.samples, shape.time, shape.heads, shape.depth, dtype, training, repeatable,
                      device.index);
  }
};

/// Forward and, in training, backward of one shape.
class Plan {
 public:
  explicit Plan(const PlanSpec& spec)
      : spec_(spec), scale_(1.0F / std::sqrt(static_cast<float>(spec.shape.depth))), handle_(spec.device) {}

  /// False where cuDNN has no kernel for it.
  [[nodiscard]] bool build() {
    describe_forward();
    if (!built(forward_)) return false;
    if (!spec_.training) return true;
    describe_backward();
    return built(backward_);
  }
  [[nodiscard]] std::size_t workspace_bytes() const {
    const std::int64_t forward = forward_.get_workspace_size();
    return static_cast<std::size_t>(spec_.training ? std::max(forward, backward_.get_workspace_size())
                                                   : forward);
  }
  void forward(Tensors& tensors, void* workspace, cudaStream_t stream) {
    static_cast<void>(cudnnSetStream(handle_.get(), stream));
    check_good(forward_.execute(handle_.get(), tensors, workspace), "forward");
  }
  void backward(Tensors& tensors, void* workspace, cudaStream_t stream) {
    static_cast<void>(cudnnSetStream(handle_.get(), stream));
    check_good(backward_.execute(handle_.get(), tensors, workspace), "backward");
  }

 private:
  [[nodiscard]] std::vector<std::int64_t> sizes() const {
    return {spec_.shape.samples, spec_.shape.heads, spec_.shape.time, spec_.shape.depth};
  }
  /// Heads of rows that are `width` elements apart.
  [[nodiscard]] std::vector<std::int64_t> strides(std::int64_t width) const {
    return {spec_.shape.time * width, spec_.shape.depth, width, 1};
  }
  [[nodiscard]] std::int64_t packed() const { return 3 * spec_.shape.width(); }

  void begin(fe::graph::Graph& graph) const {
    graph.set_io_data_type(spec_.dtype == Dtype::bf16 ? fe::DataType_t::BFLOAT16 : fe::DataType_t::HALF)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
  }
  [[nodiscard]] Tensor input(fe::graph::Graph& graph, Uid uid, std::int64_t width) const {
    return graph.tensor(
        fe::graph::Tensor_attributes().set_uid(uid).set_dim(sizes()).set_stride(strides(width)));
  }
  void output(const Tensor& tensor, Uid uid, std::int64_t width) const {
    tensor->set_output(true).set_uid(uid).set_dim(sizes()).set_stride(strides(width));
  }

  void describe_forward() {
    begin(forward_);
    auto attributes = fe::graph::SDPA_attributes()
                          .set_name("attention")
                          .set_generate_stats(spec_.training)
                          .set_attn_scale(scale_)
                          .set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT)
                          .set_diagonal_band_right_bound(0);
    auto [y, stats] = forward_.sdpa(input(forward_, kQ, packed()), input(forward_, kK, packed()),
                                    input(forward_, kV, packed()), attributes);
    output(y, kY, spec_.shape.width());
    if (spec_.training) stats->set_output(true).set_uid(kStats).set_data_type(fe::DataType_t::FLOAT);
  }

  void describe_backward() {
    begin(backward_);
    const auto& s = spec_.shape;
    auto stats = backward_.tensor(fe::graph::Tensor_attributes()
                                      .set_uid(kStats)
                                      .set_dim({s.samples, s.heads, s.time, 1})
                                      .set_stride({s.heads * s.time, s.time, 1, 1})
                                      .set_data_type(fe::DataType_t::FLOAT));
    auto attributes = fe::graph::SDPA_backward_attributes()
                          .set_name("attention_backward")
                          .set_attn_scale(scale_)
                          .set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT)
                          .set_diagonal_band_right_bound(0)
                          .set_deterministic_algorithm(spec_.repeatable);
    auto [dq, dk, dv] = backward_.sdpa_backward(
        input(backward_, kQ, packed()), input(backward_, kK, packed()), input(backward_, kV, packed()),
        input(backward_, kY, s.width()), input(backward_, kDy, s.width()), stats, attributes);
    output(dq, kDq, packed());
    output(dk, kDk, packed());
    output(dv, kDv, packed());
  }

  bool built(fe::graph::Graph& graph) {
    return graph.validate().is_good() && graph.build_operation_graph(handle_.get()).is_good() &&
           graph.create_execution_plans({fe::HeurMode_t::A, fe::HeurMode_t::FALLBACK}).is_good() &&
           graph.check_support(handle_.get()).is_good() &&
           graph.build_plans(handle_.get(), fe::BuildPlanPolicy_t::HEURISTICS_CHOICE).is_good();
  }

  PlanSpec spec_;
  float scale_;
  Handle handle_;
  fe::graph::Graph forward_, backward_;
};
using PlanPtr = std::shared_ptr<Plan>;

/// Null where cuDNN cannot.
PlanPtr plan_of(const PlanSpec& spec) {
  thread_local std::map<decltype(spec.key()), std::weak_ptr<Plan>> known;
  auto& place = known[spec.key()];
  PlanPtr plan = place.lock();
  if (plan != nullptr) return plan;
  plan = std::make_shared<Plan>(spec);
  if (!plan->build()) return nullptr;
  place = plan;
  return plan;
}

class CudnnAttention final : public CudaKernel {
 public:
  CudnnAttention(const Site& site, const AttentionShape& shape, PlanPtr plan)
      : CudaKernel(site), shape_(shape), plan_(std::move(plan)) {
    const int value = site.request.node->inputs.front();
    for (const Node& node : site.request.graph->nodes()) readers_ += std::ranges::count(node.inputs, value);
  }

  [[nodiscard]] std::size_t saved_bytes() const override {
    return static_cast<std::size_t>(shape_.samples * shape_.heads * shape_.time) * sizeof(float);
  }
  /// Somebody else reads qkv: the gradient is made aside, then added.
  [[nodiscard]] std::size_t workspace_bytes() const override {
    return padded(plan_->workspace_bytes()) +
           (readers_ > 1 ? static_cast<std::size_t>(count()) * size_of(compute()) : 0);
  }

  void forward(const Pass&, Stream& stream) override {
    Tensors tensors = packed(kQ, bound().inputs[0]);
    tensors[kY] = bound().output;
    tensors[kStats] = bound().saved;
    plan_->forward(tensors, bound().workspace, lockstep::cuda::native(stream));
  }
  void backward(const Pass&, Stream& stream) override {
    if (in_gradient<void>() == nullptr) return;
    void* dx = adds() ? workspace<void>(padded(plan_->workspace_bytes())) : in_gradient<void>();
    Tensors tensors = packed(kQ, bound().inputs[0]);
    tensors.merge(packed(kDq, dx));
    tensors[kY] = bound().output;
    tensors[kStats] = bound().saved;
    tensors[kDy] = bound().output_gradient;
    const cudaStream_t on = lockstep::cuda::native(stream);
    plan_->backward(tensors, bound().workspace, on);
    if (adds()) pass_on(dx, in_gradient<void>(), count(), compute(), true, {device(), on});
  }

 private:
  [[nodiscard]] std::int64_t count() const { return shape_.samples * shape_.time * 3 * shape_.width(); }
  /// The three parts of packed rows, under three numbers from `first`.
  [[nodiscard]] Tensors packed(std::int64_t first, void* data) const {
    const std::size_t step = static_cast<std::size_t>(shape_.width()) * size_of(compute());
    auto* at = static_cast<std::byte*>(data);
    return {{first, at}, {first + 1, at + step}, {first + 2, at + 2 * step}};
  }

  AttentionShape shape_;
  PlanPtr plan_;
  std::int64_t readers_ = 0;
};

}  // namespace

std::unique_ptr<Kernel> make_attention_cudnn(const Site& site) {
  const AttentionShape shape = attention_shape(site);
  if (shape.depth % 8 != 0 || shape.depth > kMostDepth) return nullptr;
  PlanPtr plan = plan_of({.shape = shape,
                          .dtype = site.options.compute,
                          .training = site.request.training,
                          .repeatable = site.options.repeatable,
                          .device = site.options.device});
  if (plan == nullptr) return nullptr;
  return std::make_unique<CudnnAttention>(site, shape, std::move(plan));
}

}  // namespace lockstep::models::cuda
