// Batch norm (Ioffe & Szegedy 2015): y = w (x - mean) / sqrt(var + eps) + b per channel. Training takes mean
// and variance of the microbatch, or of all ranks' microbatches when synchronised; then forward and backward
// meet the other ranks between two host tasks. Evaluation takes the running values, which are constants to
// backward.
#include <cmath>

#include "models/ops/reference/kernel_base.h"
#include "models/ops/reference/kernels.h"

namespace lockstep::models::reference {
namespace {

template <class T>
class BatchNormKernel final : public ReferenceKernel<T> {
 public:
  BatchNormKernel(const BatchNorm& op, const KernelRequest& request, const BackendOptions& options)
      : ReferenceKernel<T>(request),
        op_(op),
        options_(options),
        channels_(this->shape()[1]),
        plane_(this->shape().count() / (this->shape()[0] * channels_)),
        together_(op.synchronised && options.sum && options.ranks > 1),
        count_(this->shape()[0] * plane_ * (together_ ? options.ranks : 1)),
        wire_(2 * size()) {}
  [[nodiscard]] bool backward_needs_output() const override { return false; }
  /// Mean and 1 / sqrt(var + eps) per channel.
  [[nodiscard]] std::size_t saved_bytes() const override { return 2 * size() * sizeof(T); }

  void forward(const Pass& pass, Stream& stream) override {
    const bool train = pass.mode == Mode::train;
    stream.host([this, &pass, train] {
      this->take(pass);
      if (train) sum_values();
    });
    if (train) meet(stream);
    stream.host([this, train] {
      if (train) sum_squares();
    });
    if (train) meet(stream);
    stream.host([this, train] {
      train ? finish_statistics() : take_running_values();
      normalise();
    });
  }

  void backward(const Pass& pass, Stream& stream) override {
    stream.host([this, &pass] {
      this->begin_backward(pass);
      sum_gradients();
    });
    if (pass.mode == Mode::train) meet(stream);
    stream.host([this] {
      gradient_of_input();
      this->finish_backward();
    });
  }

 private:
  [[nodiscard]] std::size_t size() const { return static_cast<std::size_t>(channels_); }
  T* mean() { return this->template saved<T>(); }
  T* inverse_deviation() { return this->template saved<T>() + channels_; }

  /// Calls each(element, channel).
  template <class Each>
  void for_each(Each each) {
    for (std::int64_t i = 0; i < this->shape().count(); ++i) each(i, i / plane_ % channels_);
  }

  /// Adds sums_ up over ranks; the wire is f32.
  void meet(Stream& stream) {
    if (!together_) return;
    stream.host([this] { std::copy(sums_.begin(), sums_.end(), wire_.begin()); });
    options_.sum(flat(std::span<float>(wire_)), stream);
    stream.host([this] { sums_.assign(wire_.begin(), wire_.end()); });
  }

  void sum_values() {
    sums_.assign(2 * size(), T{0});
    for_each([&](auto i, auto c) { sums_[static_cast<std::size_t>(c)] += this->x()[i]; });
  }
  void sum_squares() {
    for (std::int64_t c = 0; c < channels_; ++c)
      mean()[c] = sums_[static_cast<std::size_t>(c)] / static_cast<T>(count_);
    sums_.assign(2 * size(), T{0});
    for_each([&](auto i, auto c) {
      const T deviation = this->x()[i] - mean()[c];
      sums_[static_cast<std::size_t>(c)] += deviation * deviation;
    });
  }
  void finish_statistics() {
    const bool add = this->pass().accumulate;
    const auto degrees = static_cast<T>(count_ > 1 ? count_ - 1 : 1);
    for (std::int64_t c = 0; c < channels_; ++c) {
      const T squares = sums_[static_cast<std::size_t>(c)];
      inverse_deviation()[c] = 1 / std::sqrt(squares / static_cast<T>(count_) + static_cast<T>(op_.epsilon));
      T& mean_out = this->statistics(0)[c];
      T& variance_out = this->statistics(1)[c];
      mean_out = (add ? mean_out : T{0}) + mean()[c];
      variance_out = (add ? variance_out : T{0}) + squares / degrees;
    }
  }
  void take_running_values() {
    for (std::int64_t c = 0; c < channels_; ++c) {
      mean()[c] = this->state(0)[c];
      inverse_deviation()[c] = 1 / std::sqrt(this->state(1)[c] + static_cast<T>(op_.epsilon));
    }
  }
  void normalise() {
    const T *w = this->parameter(0), *b = this->parameter(1);
    for_each([&](auto i, auto c) {
      this->y()[i] = (this->x()[i] - mean()[c]) * inverse_deviation()[c] * w[c] + b[c];
    });
  }

  /// Parameter gradients are this rank's own; the input gradient needs the sums over ranks.
  void sum_gradients() {
    T *dw = this->parameter_gradient(0), *db = this->parameter_gradient(1);
    for_each([&](auto i, auto c) {
      dw[c] += this->dy()[i] * (this->x()[i] - mean()[c]) * inverse_deviation()[c];
      db[c] += this->dy()[i];
    });
    sums_.assign(dw, dw + channels_);
    sums_.insert(sums_.end(), db, db + channels_);
  }
  /// dx = w / deviation (dy - mean(dy) - xhat mean(dy xhat)); the means vanish for constant statistics.
  void gradient_of_input() {
    const T* w = this->parameter(0);
    const T share = this->pass().mode == Mode::train ? T{1} / static_cast<T>(count_) : T{0};
    for_each([&](auto i, auto c) {
      const T normal = (this->x()[i] - mean()[c]) * inverse_deviation()[c];
      const T mean_product = sums_[static_cast<std::size_t>(c)] * share;
      const T mean_gradient = sums_[static_cast<std::size_t>(c + channels_)] * share;
      this->dx()[i] +=
          w[c] * inverse_deviation()[c] * (this->dy()[i] - mean_gradient - normal * mean_product);
    });
  }

  BatchNorm op_;
  const BackendOptions& options_;
  std::int64_t channels_, plane_;
  bool together_;
  std::int64_t count_;  ///< elements that share a statistic, over all ranks
  std::vector<T> sums_;
  std::vector<float> wire_;
};

}  // namespace

template <class T>
KernelPtr make_batch_norm(const BatchNorm& op, const KernelRequest& request, const BackendOptions& options) {
  return std::make_unique<BatchNormKernel<T>>(op, request, options);
}
template KernelPtr make_batch_norm<float>(const BatchNorm&, const KernelRequest&, const BackendOptions&);
template KernelPtr make_batch_norm<double>(const BatchNorm&, const KernelRequest&, const BackendOptions&);

}  // namespace lockstep::models::reference
