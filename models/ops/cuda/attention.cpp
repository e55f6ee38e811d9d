// Attention as products of many heads at once, with own softmax kernels between them: in turns all heads of a
// sample, or one head of all samples, whichever takes fewer turns. Scores are f32 and made again in backward:
// those of one turn are all the memory they take.
#include "models/ops/cuda/attention.h"

#include <cmath>
#include <variant>

#include "core/cuda/cuda.h"
#include "models/ops/cuda/attention_softmax.h"
#include "models/ops/cuda/kernels.h"
#include "models/ops/cuda/linear_products.h"

namespace lockstep::models::cuda {
namespace {

/// Scores of a turn that span samples take no more than this.
constexpr std::int64_t kMostScores = std::int64_t{256} << 20;

/// Who is worked on at once.
struct Turns {
  bool samples;              ///< one head of all samples; else all heads of one sample
  std::int64_t count, many;  ///< turns, and heads' matrices in each
  explicit Turns(const AttentionShape& s)
      : samples(s.samples > s.heads &&
                s.samples * s.time * s.time * static_cast<std::int64_t>(sizeof(float)) <= kMostScores),
        count(samples ? s.heads : s.samples),
        many(samples ? s.samples : s.heads) {}
};

/// Where the matrices of a turn lie: elements from row to row, from one matrix to the next, and from turn to
/// turn.
struct Lie {
  std::int64_t row, next, turn;
};

/// Of heads that lie side by side in rows of `width`.
Lie side_by_side(const AttentionShape& s, const Turns& turns, std::int64_t width) {
  return turns.samples ? Lie{width, s.time * width, s.depth} : Lie{width, s.depth, s.time * width};
}

std::size_t alignment_of(const AttentionShape& s, std::size_t element) {
  std::size_t alignment = 16;
  const auto divides = [&](std::int64_t extent) {
    return static_cast<std::size_t>(extent) * element % alignment == 0;
  };
  while (alignment > element && !(divides(s.depth) && divides(s.time))) alignment /= 2;
  return alignment;
}

/// What a product of heads is made of; `wide` results are f32.
struct Heads {
  AttentionShape shape;
  Dtype dtype;
  ProductPolicy policy;
  Turns turns{shape};
  Lie qkv = side_by_side(shape, turns, 3 * shape.width());
  Lie y = side_by_side(shape, turns, shape.width());
  Lie scores{shape.time, shape.time* shape.time, 0};

  /// left right^T over the heads' depth: [time, time].
  [[nodiscard]] Product across(const Lie& left, const Lie& right) const {
    ProductSpec spec = base(left, right, scores);
    spec.n = shape.time;
    spec.k = shape.depth;
    spec.transpose_b = true;
    spec.output = Dtype::f32;
    return {spec, policy};
  }
  /// weights right, or weights^T right: [time, depth].
  [[nodiscard]] Product mix(bool transposed, const Lie& right, const Lie& result) const {
    ProductSpec spec = base(scores, right, result);
    spec.n = shape.depth;
    spec.k = shape.time;
    spec.transpose_a = transposed;
    return {spec, policy};
  }

 private:
  [[nodiscard]] ProductSpec base(const Lie& a, const Lie& b, const Lie& c) const {
    return {.m = shape.time,
            .row_a = a.row,
            .row_b = b.row,
            .row_c = c.row,
            .input = dtype,
            .output = dtype,
            .batch = turns.many,
            .step_a = a.next,
            .step_b = b.next,
            .step_c = c.next,
            .alignment = alignment_of(shape, size_of(dtype))};
  }
};

class AttentionKernel final : public CudaKernel {
 public:
  explicit AttentionKernel(const Site& site)
      : AttentionKernel(site, Heads{attention_shape(site), site.options.compute, policy_of(site.options)}) {}

  [[nodiscard]] std::size_t saved_bytes() const override {
    return static_cast<std::size_t>(heads_.shape.samples * heads_.shape.heads * heads_.shape.time) *
           sizeof(LogSum);
  }
  /// Scores, the gradient of probabilities, and probabilities or the gradient of scores.
  [[nodiscard]] std::size_t workspace_bytes() const override { return kProductWorkspace + 3 * score_bytes(); }
  [[nodiscard]] bool backward_needs_output() const override { return false; }

  void forward(const Pass& pass, Stream& stream) override {
    const cudaStream_t on = lockstep::cuda::native(stream);
    const Drops drops = drops_of(pass, name_, dropout_);
    for (std::int64_t turn = 0; turn < heads_.turns.count; ++turn) {
      const void* x = element(bound().inputs[0], turn * heads_.qkv.turn);
      make_scores(x, stream);
      if (!pass.products_only) causal_softmax(scores(), probabilities(), sums(turn), rows(turn), drops, on);
      values_.run({.a = probabilities(), .b = v_of(x), .c = element(bound().output, turn * heads_.y.turn)},
                  bound().workspace, stream);
    }
  }

  void backward(const Pass& pass, Stream& stream) override {
    if (in_gradient<void>() == nullptr) return;
    const Drops drops = drops_of(pass, name_, dropout_);
    for (std::int64_t turn = 0; turn < heads_.turns.count; ++turn) backward_turn(pass, turn, drops, stream);
  }

 private:
  AttentionKernel(const Site& site, const Heads& heads)
      : CudaKernel(site),
        heads_(heads),
        name_(site.request.node->name),
        dropout_(std::get<CausalAttention>(site.request.node->spec).dropout),
        scale_(1.0F / std::sqrt(static_cast<float>(heads.shape.depth))),
        scores_(heads.across(heads.qkv, heads.qkv)),
        values_(heads.mix(false, heads.qkv, heads.y)),
        value_gradient_(heads.mix(true, heads.y, heads.qkv)),
        probability_gradient_(heads.across(heads.y, heads.qkv)),
        query_gradient_(heads.mix(false, heads.qkv, heads.qkv)),
        key_gradient_(heads.mix(true, heads.qkv, heads.qkv)) {}

  /// dV = P^T dY; dP = dY V^T; dS from dP; dQ = scale dS K; dK = scale dS^T Q.
  void backward_turn(const Pass& pass, std::int64_t turn, const Drops& drops, Stream& stream) {
    const cudaStream_t on = lockstep::cuda::native(stream);
    void* const workspace = bound().workspace;
    const std::int64_t at = turn * heads_.qkv.turn;
    const void* x = element(bound().inputs[0], at);
    const void* dy = element(bound().output_gradient, turn * heads_.y.turn);
    void* dx = element(in_gradient<void>(), at);
    void *dk = element(dx, heads_.shape.width()), *dv = element(dx, 2 * heads_.shape.width());
    make_scores(x, stream);
    if (!pass.products_only)
      causal_probabilities(scores(), probabilities(), sums(turn), rows(turn), drops, on);
    value_gradient_.run({.a = probabilities(), .b = dy, .c = dv, .added = adds() ? dv : nullptr}, workspace,
                        stream);
    probability_gradient_.run({.a = dy, .b = v_of(x), .c = probability_gradients()}, workspace, stream);
    if (!pass.products_only)
      causal_gradient(scores(), probability_gradients(), probabilities(), sums(turn), rows(turn), drops, on);
    query_gradient_.run({.a = probabilities(),
                         .b = element(x, heads_.shape.width()),
                         .c = dx,
                         .added = adds() ? dx : nullptr,
                         .scale = scale_},
                        workspace, stream);
    key_gradient_.run(
        {.a = probabilities(), .b = x, .c = dk, .added = adds() ? dk : nullptr, .scale = scale_}, workspace,
        stream);
  }

  void make_scores(const void* x, Stream& stream) {
    scores_.run({.a = x, .b = element(x, heads_.shape.width()), .c = scores(), .scale = scale_},
                bound().workspace, stream);
  }
  [[nodiscard]] const void* v_of(const void* x) const { return element(x, 2 * heads_.shape.width()); }

  [[nodiscard]] const void* element(const void* first, std::int64_t number) const {
    return static_cast<const std::byte*>(first) + static_cast<std::size_t>(number) * size_of(compute());
  }
  [[nodiscard]] void* element(void* first, std::int64_t number) const {
    return const_cast<void*>(element(static_cast<const void*>(first), number));
  }
  [[nodiscard]] std::size_t score_bytes() const {
    return padded(static_cast<std::size_t>(heads_.turns.many * heads_.shape.time * heads_.shape.time) *
                  sizeof(float));
  }
  [[nodiscard]] float* scores() const { return workspace<float>(kProductWorkspace); }
  [[nodiscard]] float* probability_gradients() const {
    return workspace<float>(kProductWorkspace + score_bytes());
  }
  /// Later the gradient of scores.
  [[nodiscard]] void* probabilities() const { return workspace<void>(kProductWorkspace + 2 * score_bytes()); }
  [[nodiscard]] LogSum* sums(std::int64_t turn) const {
    return saved<LogSum>() + turn * heads_.turns.many * heads_.shape.time;
  }
  [[nodiscard]] ScoreRows rows(std::int64_t turn) const {
    return {heads_.turns.many, heads_.shape.time, heads_.turns.samples, turn, compute()};
  }

  Heads heads_;
  std::string name_;
  float dropout_, scale_;
  Product scores_, values_, value_gradient_, probability_gradient_, query_gradient_, key_gradient_;
};

}  // namespace

AttentionShape attention_shape(const Site& site) {
  const std::int64_t heads = std::get<CausalAttention>(site.request.node->spec).heads;
  return {site.input()[0], site.input()[1], heads, site.output()[2] / heads};
}

std::unique_ptr<Kernel> make_attention_products(const Site& site) {
  return std::make_unique<AttentionKernel>(site);
}

std::unique_ptr<Kernel> make_attention(const Site& site) {
  if (site.options.compute != Dtype::f32) {
    if (auto fused = make_attention_cudnn(site)) return fused;
  }
  return make_attention_products(site);
}

}  // namespace lockstep::models::cuda
