// Attention by cuDNN's fused kernels, on q, k and v where they lie in the packed projection. With dropout a
// few samples at a time: their masks are drawn before each of the two passes and take as much memory as their
// probabilities would.
#include <algorithm>
#include <variant>

#include "core/cuda/cuda.h"
#include "models/ops/cuda/attention.h"
#include "models/ops/cuda/attention_mask.h"
#include "models/ops/cuda/attention_plan.h"
#include "models/ops/cuda/rowwise.h"

namespace lockstep::models::cuda {
namespace {

constexpr std::int64_t kMostDepth = 128;  ///< of a head, and a multiple of 8: what the fused kernels take
/// Masks of a turn take no more than this, but for a single sample's.
constexpr std::int64_t kMostMask = std::int64_t{256} << 20;

/// How many samples are worked on at once: a divisor of all.
std::int64_t samples_at_once(const AttentionShape& shape, std::size_t element) {
  const std::int64_t sample = shape.heads * shape.time * shape.time * static_cast<std::int64_t>(element);
  std::int64_t many =
      std::clamp<std::int64_t>(kMostMask / sample, 1, std::min(shape.samples, kMostMaskSamples));
  while (shape.samples % many != 0) --many;
  return many;
}

class CudnnAttention final : public CudaKernel {
 public:
  using Plan = std::shared_ptr<AttentionPlan>;
  /// `dropped`: of `many` samples with a mask, null without dropout; `plain`: of all samples.
  CudnnAttention(const Site& site, Plan plain, Plan dropped, std::int64_t many)
      : CudaKernel(site),
        shape_(attention_shape(site)),
        name_(site.request.node->name),
        dropout_(std::get<CausalAttention>(site.request.node->spec).dropout),
        plain_(std::move(plain)),
        dropped_(std::move(dropped)),
        many_(many) {
    const int value = site.request.node->inputs.front();
    for (const Node& node : site.request.graph->nodes()) readers_ += std::ranges::count(node.inputs, value);
  }

  [[nodiscard]] std::size_t saved_bytes() const override {
    return static_cast<std::size_t>(shape_.samples * stats_of_sample()) * sizeof(float);
  }
  /// Plans' workspace, the mask, and where somebody else reads qkv the gradient: it is made aside, then
  /// added.
  [[nodiscard]] std::size_t workspace_bytes() const override {
    return gradient_at() + (readers_ > 1 ? static_cast<std::size_t>(count()) * size_of(compute()) : 0);
  }

  void forward(const Pass& pass, Stream& stream) override {
    const cudaStream_t on = lockstep::cuda::native(stream);
    each_turn(pass, nullptr, on, [&](AttentionPlan& plan, AttentionTensors& tensors) {
      plan.forward(tensors, bound().workspace, on);
    });
  }
  void backward(const Pass& pass, Stream& stream) override {
    if (in_gradient<void>() == nullptr) return;
    const cudaStream_t on = lockstep::cuda::native(stream);
    void* dx = adds() ? workspace<void>(gradient_at()) : in_gradient<void>();
    each_turn(pass, dx, on, [&](AttentionPlan& plan, AttentionTensors& tensors) {
      plan.backward(tensors, bound().workspace, on);
    });
    if (adds()) pass_on(dx, in_gradient<void>(), count(), compute(), true, {device(), on});
  }

 private:
  /// Calls run(plan, tensors) for all samples at once, or with dropout turn by turn. `dx`: null in forward.
  template <class Run>
  void each_turn(const Pass& pass, void* dx, cudaStream_t on, const Run& run) const {
    const Drops drops = drops_of(pass, name_, dropout_);
    AttentionPlan& plan = drops.active ? *dropped_ : *plain_;
    const std::int64_t many = drops.active ? many_ : shape_.samples;
    for (std::int64_t first = 0; first < shape_.samples; first += many) {
      AttentionTensors tensors = tensors_from(first, dx);
      if (drops.active) {
        tensors[kMask] = workspace<void>(plans_bytes());
        keep_mask(tensors[kMask], {many, shape_.heads, shape_.time, first, compute()}, drops, {device(), on});
      }
      run(plan, tensors);
    }
  }

  [[nodiscard]] AttentionTensors tensors_from(std::int64_t sample, void* dx) const {
    const std::int64_t y = sample * shape_.time * shape_.width();
    AttentionTensors tensors{{kY, element(bound().output, y)},
                             {kStats, saved<float>() + sample * stats_of_sample()}};
    add_packed(tensors, kQ, element(bound().inputs[0], 3 * y));
    if (dx == nullptr) return tensors;
    add_packed(tensors, kDq, element(dx, 3 * y));
    tensors[kDy] = element(bound().output_gradient, y);
    return tensors;
  }
  /// The three parts of packed rows, under three numbers from `first`.
  void add_packed(AttentionTensors& tensors, std::int64_t first, void* rows) const {
    for (std::int64_t part = 0; part < 3; ++part)
      tensors[first + part] = element(rows, part * shape_.width());
  }
  [[nodiscard]] void* element(const void* first, std::int64_t number) const {
    return const_cast<std::byte*>(static_cast<const std::byte*>(first)) +
           static_cast<std::size_t>(number) * size_of(compute());
  }

  [[nodiscard]] std::int64_t stats_of_sample() const { return shape_.heads * shape_.time; }
  [[nodiscard]] std::int64_t count() const { return shape_.samples * shape_.time * 3 * shape_.width(); }
  [[nodiscard]] std::size_t plans_bytes() const {
    const std::size_t plain = plain_->workspace_bytes();
    return padded(dropped_ == nullptr ? plain : std::max(plain, dropped_->workspace_bytes()));
  }
  [[nodiscard]] std::size_t mask_bytes() const {
    if (dropped_ == nullptr) return 0;
    return static_cast<std::size_t>(many_ * stats_of_sample() * shape_.time) * size_of(compute());
  }
  [[nodiscard]] std::size_t gradient_at() const { return plans_bytes() + padded(mask_bytes()); }

  AttentionShape shape_;
  std::string name_;
  float dropout_;
  Plan plain_, dropped_;
  std::int64_t many_, readers_ = 0;
};

}  // namespace

std::unique_ptr<Kernel> make_attention_cudnn(const Site& site) {
  AttentionPlanSpec spec{.shape = attention_shape(site),
                         .dtype = site.options.compute,
                         .training = site.request.training,
                         .repeatable = site.options.repeatable,
                         .dropout = 0,
                         .device = site.options.device};
  if (spec.shape.depth % 8 != 0 || spec.shape.depth > kMostDepth) return nullptr;
  auto plain = attention_plan(spec);
  if (plain == nullptr) return nullptr;
  const float dropout = std::get<CausalAttention>(site.request.node->spec).dropout;
  if (!spec.training || dropout == 0)
    return std::make_unique<CudnnAttention>(site, std::move(plain), nullptr, spec.shape.samples);
  if (spec.shape.heads * spec.shape.time * spec.shape.time > kMostMaskElements) return nullptr;
  spec.dropout = dropout;
  spec.shape.samples = samples_at_once(spec.shape, size_of(spec.dtype));
  auto dropped = attention_plan(spec);
  if (dropped == nullptr) return nullptr;
  return std::make_unique<CudnnAttention>(site, std::move(plain), std::move(dropped), spec.shape.samples);
}

}  // namespace lockstep::models::cuda
