// Causal multi-head attention (Vaswani et al. 2017): each position attends to itself and those before it.
// P = softmax(q k^T / sqrt(width of a head)), y = dropout(P) v. P is kept for backward.
#include <cmath>

#include "models/ops/dropout_mask.h"
#include "models/ops/reference/kernel_base.h"
#include "models/ops/reference/kernels.h"

namespace lockstep::models::reference {
namespace {

/// One head of one sample: rows of q, k, v (or their gradients) are `stride` elements apart.
template <class U>
struct Head {
  U *q, *k, *v;
};

template <class T>
class CausalAttentionKernel final : public ReferenceKernel<T> {
 public:
  CausalAttentionKernel(const CausalAttention& op, const KernelRequest& request)
      : ReferenceKernel<T>(request),
        op_(op),
        name_(request.node->name),
        time_(this->shape()[1]),
        width_(this->shape()[2] / 3),
        head_width_(width_ / op.heads),
        scale_(1 / std::sqrt(static_cast<T>(head_width_))) {}
  [[nodiscard]] bool backward_needs_output() const override { return false; }
  [[nodiscard]] std::size_t saved_bytes() const override {
    return static_cast<std::size_t>(this->shape()[0] * op_.heads * time_ * time_) * sizeof(T);
  }

 private:
  template <class U>
  Head<U> head_of(U* qkv, std::int64_t sample, std::int64_t head) const {
    U* q = qkv + sample * time_ * 3 * width_ + head * head_width_;
    return {q, q + width_, q + 2 * width_};
  }
  T* probabilities(std::int64_t sample, std::int64_t head) const {
    return this->template saved<T>() + (sample * op_.heads + head) * time_ * time_;
  }
  [[nodiscard]] std::int64_t output_at(std::int64_t sample, std::int64_t head, std::int64_t row) const {
    return (sample * time_ + row) * width_ + head * head_width_;
  }
  T dot(const T* a, const T* b) const {
    T sum = 0;
    for (std::int64_t i = 0; i < head_width_; ++i) sum += a[i] * b[i];
    return sum;
  }
  static void add_scaled(T factor, const T* from, T* to, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) to[i] += factor * from[i];
  }

  template <class Each>
  void for_each_row(Each each) {
    for (std::int64_t sample = 0; sample < this->shape()[0]; ++sample) {
      for (std::int64_t head = 0; head < op_.heads; ++head) {
        for (std::int64_t row = 0; row < time_; ++row) each(sample, head, row);
      }
    }
  }

  /// What dropout multiplies the probabilities of one row with; element (head, row, column) of the sample.
  std::vector<T> factors(std::int64_t sample, std::int64_t head, std::int64_t row) const {
    std::vector<T> result(static_cast<std::size_t>(row + 1), T{1});
    if (this->pass().mode != Mode::train || op_.dropout == 0) return result;
    std::vector<std::uint8_t> mask(result.size());
    dropout_mask(this->pass().seed, name_, this->pass().first_sample + sample, op_.dropout,
                 (head * time_ + row) * time_, mask);
    for (std::size_t i = 0; i < mask.size(); ++i) result[i] = mask[i] / (1 - static_cast<T>(op_.dropout));
    return result;
  }

  void softmax(T* row, std::int64_t count) const {
    T largest = row[0];
    for (std::int64_t i = 1; i < count; ++i) largest = std::max(largest, row[i]);
    T sum = 0;
    for (std::int64_t i = 0; i < count; ++i) sum += row[i] = std::exp(row[i] - largest);
    for (std::int64_t i = 0; i < count; ++i) row[i] /= sum;
  }

  void compute() override {
    for_each_row([&](auto sample, auto head, auto row) {
      const auto at = head_of(this->x(), sample, head);
      const std::int64_t stride = 3 * width_;
      T* p = probabilities(sample, head) + row * time_;
      for (std::int64_t col = 0; col <= row; ++col) {
        p[col] = scale_ * dot(at.q + row * stride, at.k + col * stride);
      }
      softmax(p, row + 1);
      const auto factor = factors(sample, head, row);
      T* y = this->y() + output_at(sample, head, row);
      std::fill(y, y + head_width_, T{0});
      for (std::int64_t col = 0; col <= row; ++col) {
        add_scaled(p[col] * factor[static_cast<std::size_t>(col)], at.v + col * stride, y, head_width_);
      }
    });
  }

  /// dP = factor (dy . v); dS = P (dP - sum(P dP)) is the gradient of the scores.
  void differentiate() override {
    for_each_row([&](auto sample, auto head, auto row) {
      const auto at = head_of(this->x(), sample, head);
      const auto gradient = head_of(this->dx(), sample, head);
      const std::int64_t stride = 3 * width_;
      const T* p = probabilities(sample, head) + row * time_;
      const T* dy = this->dy() + output_at(sample, head, row);
      const auto factor = factors(sample, head, row);
      std::vector<T> dp(factor.size());
      T weighted = 0;
      for (std::int64_t col = 0; col <= row; ++col) {
        const auto c = static_cast<std::size_t>(col);
        dp[c] = factor[c] * dot(dy, at.v + col * stride);
        weighted += p[col] * dp[c];
        add_scaled(p[col] * factor[c], dy, gradient.v + col * stride, head_width_);
      }
      for (std::int64_t col = 0; col <= row; ++col) {
        const T ds = scale_ * p[col] * (dp[static_cast<std::size_t>(col)] - weighted);
        add_scaled(ds, at.k + col * stride, gradient.q + row * stride, head_width_);
        add_scaled(ds, at.q + row * stride, gradient.k + col * stride, head_width_);
      }
    });
  }

  CausalAttention op_;
  std::string name_;
  std::int64_t time_, width_, head_width_;
  T scale_;
};

}  // namespace

LOCKSTEP_REFERENCE_KERNEL(CausalAttention, CausalAttentionKernel);

}  // namespace lockstep::models::reference
