#define CUDNN_FRONTEND_SKIP_JSON_LIB
#include "models/ops/cuda/attention_plan.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cudnn_frontend.h>
#include <spdlog/fmt/fmt.h>

#include <cmath>
#include <map>
#include <tuple>

#include "core/error.h"
#include "models/ops/cuda/cudnn_handle.h"

namespace lockstep::models::cuda {
namespace {

namespace fe = cudnn_frontend;
using Tensor = std::shared_ptr<fe::graph::Tensor_attributes>;
using Tensors = AttentionTensors;
using Uid = AttentionTensor;

void check_good(fe::error_t status, const char* what) {
  if (status.is_good()) return;
  throw Error(Fault::device, fmt::format("cuDNN attention, {}: {}", what, status.get_message()));
}

auto key(const AttentionPlanSpec& spec) {
  return std::tuple(spec.shape.samples, spec.shape.time, spec.shape.heads, spec.shape.depth, spec.dtype,
                    spec.training, spec.repeatable, spec.dropout, spec.device.index);
}

/// Forward and, in training, backward of one shape.
class Plan final : public AttentionPlan {
 public:
  explicit Plan(const AttentionPlanSpec& spec)
      : spec_(spec),
        scale_(1.0F / std::sqrt(static_cast<float>(spec.shape.depth))),
        handle_(handle_of(spec.device)) {}

  /// False where cuDNN has no kernel for it.
  [[nodiscard]] bool build() {
    describe_forward();
    if (!built(forward_)) return false;
    if (!spec_.training) return true;
    describe_backward();
    return built(backward_);
  }
  [[nodiscard]] std::size_t workspace_bytes() const override {
    const std::int64_t forward = forward_.get_workspace_size();
    return static_cast<std::size_t>(spec_.training ? std::max(forward, backward_.get_workspace_size())
                                                   : forward);
  }
  void forward(Tensors& tensors, void* workspace, cudaStream_t stream) override {
    check_good(forward_.execute(handle_->on(stream), tensors, workspace), "forward");
  }
  void backward(Tensors& tensors, void* workspace, cudaStream_t stream) override {
    check_good(backward_.execute(handle_->on(stream), tensors, workspace), "backward");
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

  /// Masks carry the factor of kept elements, rounded, and scales what that left of it: cuDNN 9.19 does not
  /// heed the inverse scale in backward, where it weighs sum(dy y).
  [[nodiscard]] float rest() const {
    const float kept = 1 / (1 - spec_.dropout);
    return kept / (spec_.dtype == Dtype::bf16 ? __bfloat162float(__float2bfloat16(kept))
                                              : __half2float(__float2half(kept)));
  }
  [[nodiscard]] bool drops() const { return spec_.dropout > 0; }
  [[nodiscard]] Tensor mask(fe::graph::Graph& graph) const {
    const auto& s = spec_.shape;
    return graph.tensor(fe::graph::Tensor_attributes()
                            .set_uid(kMask)
                            .set_dim({s.samples, s.heads, s.time, s.time})
                            .set_stride({s.heads * s.time * s.time, s.time * s.time, s.time, 1}));
  }
  [[nodiscard]] static Tensor number(fe::graph::Graph& graph, float value) {
    return graph.tensor(fe::graph::Tensor_attributes(value));
  }

  void describe_forward() {
    begin(forward_);
    auto attributes = fe::graph::SDPA_attributes()
                          .set_name("attention")
                          .set_generate_stats(spec_.training)
                          .set_attn_scale(scale_)
                          .set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT)
                          .set_diagonal_band_right_bound(0);
    if (drops()) attributes.set_dropout(mask(forward_), number(forward_, rest()));
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
    if (drops())
      attributes.set_dropout(mask(backward_), number(backward_, rest()), number(backward_, 1 / rest()));
    auto [dq, dk, dv] = backward_.sdpa_backward(
        input(backward_, kQ, packed()), input(backward_, kK, packed()), input(backward_, kV, packed()),
        input(backward_, kY, s.width()), input(backward_, kDy, s.width()), stats, attributes);
    output(dq, kDq, packed());
    output(dk, kDk, packed());
    output(dv, kDv, packed());
  }

  bool built(fe::graph::Graph& graph) {
    return graph.validate().is_good() && graph.build_operation_graph(handle_->get()).is_good() &&
           graph.create_execution_plans({fe::HeurMode_t::A, fe::HeurMode_t::FALLBACK}).is_good() &&
           graph.check_support(handle_->get()).is_good() &&
           graph.build_plans(handle_->get(), fe::BuildPlanPolicy_t::HEURISTICS_CHOICE).is_good();
  }

  AttentionPlanSpec spec_;
  float scale_;
  HandlePtr handle_;
  fe::graph::Graph forward_, backward_;
};

}  // namespace

std::shared_ptr<AttentionPlan> attention_plan(const AttentionPlanSpec& spec) {
  thread_local std::map<decltype(key(spec)), std::weak_ptr<AttentionPlan>> known;
  auto& place = known[key(spec)];
  if (auto plan = place.lock()) return plan;
  auto plan = std::make_shared<Plan>(spec);
  if (!plan->build()) return nullptr;
  place = plan;
  return plan;
}

}  // namespace lockstep::models::cuda
