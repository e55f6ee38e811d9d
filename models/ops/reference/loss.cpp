// Losses: a number per row, and the gradient of their mean over the rows that count. A row that does not
// count holds kIgnoredRow, from which backward knows it.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "models/ops/reference/kernel_base.h"
#include "models/ops/reference/kernels.h"

namespace lockstep::models::reference {
namespace {

template <class T>
class LossKernel : public ReferenceKernel<T> {
 public:
  using ReferenceKernel<T>::ReferenceKernel;

 protected:
  /// The loss of one row, or kIgnoredRow.
  virtual T row_loss(std::int64_t row) = 0;
  /// Adds share * (gradient of the row's loss) to the prediction's gradient.
  virtual void row_gradient(std::int64_t row, T share) = 0;
  [[nodiscard]] std::int64_t rows() const { return this->output_shape()[0]; }

 private:
  void compute() final {
    const std::int64_t samples = this->shape()[0];
    const std::int64_t counted = this->pass().rows < 0 ? samples : this->pass().rows;
    const std::int64_t end = std::min(counted, samples) * (rows() / samples);
    for (std::int64_t row = 0; row < rows(); ++row) {
      this->y()[row] = row < end ? row_loss(row) : static_cast<T>(kIgnoredRow);
    }
  }
  void differentiate() final {
    const auto ignored = [](T loss) { return loss == static_cast<T>(kIgnoredRow); };
    const auto counted = rows() - std::count_if(this->y(), this->y() + rows(), ignored);
    for (std::int64_t row = 0; row < rows(); ++row) {
      if (!ignored(this->y()[row])) row_gradient(row, 1 / static_cast<T>(counted));
    }
  }
};

/// -sum_k q_k log softmax(x)_k with q = (1 - s) [k is the target] + s / K for label smoothing s.
template <class T>
class CrossEntropyKernel final : public LossKernel<T> {
 public:
  CrossEntropyKernel(const SoftmaxCrossEntropy& op, const KernelRequest& request)
      : LossKernel<T>(request), op_(op), smoothing_(static_cast<T>(op.label_smoothing)) {
    const Shape& x = this->shape();
    const bool planes = x.rank() == 4;
    classes_ = planes ? x[1] : x[x.rank() - 1];
    stride_ = planes ? x[2] * x[3] : 1;
  }

 private:
  /// Element of class 0 of a row; class k lies k * stride_ further.
  [[nodiscard]] std::int64_t first(std::int64_t row) const {
    return row / stride_ * classes_ * stride_ + row % stride_;
  }
  /// log softmax(x)_k = (x_k - largest) - log_sum: never the difference of two large numbers.
  struct Normaliser {
    T largest, log_sum;
  };
  Normaliser normaliser(const T* x) const {
    T largest = x[0];
    for (std::int64_t k = 1; k < classes_; ++k) largest = std::max(largest, x[k * stride_]);
    T sum = 0;
    for (std::int64_t k = 0; k < classes_; ++k) sum += std::exp(x[k * stride_] - largest);
    return {largest, std::log(sum)};
  }
  [[nodiscard]] T wanted(std::int64_t k, std::int64_t target) const {
    return (k == target ? 1 - smoothing_ : T{0}) + smoothing_ / static_cast<T>(classes_);
  }

  T row_loss(std::int64_t row) override {
    const std::int64_t target = this->ids(1)[row];
    if (target == op_.ignore_index) return static_cast<T>(kIgnoredRow);
    if (target < 0 || target >= classes_) {
      throw Error(Fault::data,
                  fmt::format("row {} has label {}, but there are {} classes", row, target, classes_),
                  "set the model's number of classes to the data's, or ignore_index to the label to skip");
    }
    const T* x = this->x() + first(row);
    const auto [largest, log_sum] = normaliser(x);
    T loss = 0;
    for (std::int64_t k = 0; k < classes_; ++k) {
      loss += wanted(k, target) * (log_sum - (x[k * stride_] - largest));
    }
    return std::max(loss, T{0});
  }
  void row_gradient(std::int64_t row, T share) override {
    const T* x = this->x() + first(row);
    T* dx = this->dx() + first(row);
    const auto [largest, log_sum] = normaliser(x);
    for (std::int64_t k = 0; k < classes_; ++k) {
      const T probability = std::exp(x[k * stride_] - largest - log_sum);
      dx[k * stride_] += share * (probability - wanted(k, this->ids(1)[row]));
    }
  }

  SoftmaxCrossEntropy op_;
  T smoothing_;
  std::int64_t classes_ = 0, stride_ = 1;
};

/// The mean over a sample's elements of f(prediction - target).
template <class T>
class FieldLossKernel : public LossKernel<T> {
 public:
  explicit FieldLossKernel(const KernelRequest& request)
      : LossKernel<T>(request), elements_(this->shape().count() / this->shape()[0]) {}

 protected:
  [[nodiscard]] virtual T value(T difference) const = 0;
  [[nodiscard]] virtual T slope(T difference) const = 0;

 private:
  T row_loss(std::int64_t row) final {
    T sum = 0;
    for (std::int64_t i = row * elements_; i < (row + 1) * elements_; ++i)
      sum += value(this->x(0)[i] - this->x(1)[i]);
    return sum / static_cast<T>(elements_);
  }
  void row_gradient(std::int64_t row, T share) final {
    for (std::int64_t i = row * elements_; i < (row + 1) * elements_; ++i) {
      this->dx()[i] += share * slope(this->x(0)[i] - this->x(1)[i]) / static_cast<T>(elements_);
    }
  }

  std::int64_t elements_;  ///< of one sample
};

template <class T>
class MeanSquaredErrorKernel final : public FieldLossKernel<T> {
 public:
  MeanSquaredErrorKernel(const MeanSquaredError&, const KernelRequest& request)
      : FieldLossKernel<T>(request) {}

 private:
  [[nodiscard]] T value(T difference) const override { return difference * difference; }
  [[nodiscard]] T slope(T difference) const override { return 2 * difference; }
};

/// d^2 / (2 beta) near zero, |d| - beta / 2 outside (Girshick 2015).
template <class T>
class SmoothL1Kernel final : public FieldLossKernel<T> {
 public:
  SmoothL1Kernel(const SmoothL1& op, const KernelRequest& request)
      : FieldLossKernel<T>(request), beta_(static_cast<T>(op.beta)) {}

 private:
  [[nodiscard]] T value(T difference) const override {
    const T size = std::abs(difference);
    return size < beta_ ? size * size / (2 * beta_) : size - beta_ / 2;
  }
  [[nodiscard]] T slope(T difference) const override { return std::clamp(difference / beta_, T{-1}, T{1}); }

  T beta_;
};

}  // namespace

LOCKSTEP_REFERENCE_KERNEL(SoftmaxCrossEntropy, CrossEntropyKernel);
LOCKSTEP_REFERENCE_KERNEL(MeanSquaredError, MeanSquaredErrorKernel);
LOCKSTEP_REFERENCE_KERNEL(SmoothL1, SmoothL1Kernel);

}  // namespace lockstep::models::reference
