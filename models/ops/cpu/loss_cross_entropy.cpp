// Softmax cross-entropy over rows of K logits (samples, tokens or pixels: channels-last images are rows of
// classes). Backward computes the probabilities again from the logits and the saved log-sum-exp, which is
// kept in two parts (peak, and the logarithm relative to it): their sum would lose the small one at large
// logits.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cmath>

#include "core/cpu_dispatch.h"
#include "core/error.h"
#include "models/ops/cpu/element.h"
#include "models/ops/cpu/kernels.h"
#include "models/ops/cpu/parallel.h"
#include "models/ops/cpu/storage.h"

namespace lockstep::models::cpu {
namespace {

/// log(sum(exp(x))) = peak + log_sum, and the sum of x - peak for label smoothing.
struct RowSums {
  float peak, log_sum, sum;
};

template <class T>
LOCKSTEP_HOT_LOOP RowSums row_sums(const T* x, std::int64_t classes) {
  Lanes peaks;
  for (float& peak : peaks.sum) peak = widen(x[0]);
  std::int64_t i = 0;
  for (; i + Lanes::kCount <= classes; i += Lanes::kCount)
    for (int lane = 0; lane < Lanes::kCount; ++lane) {
      const float v = widen(x[i + lane]);
      peaks.sum[lane] = v > peaks.sum[lane] ? v : peaks.sum[lane];
    }
  float peak = widen(x[0]);
  for (; i < classes; ++i) peak = widen(x[i]) > peak ? widen(x[i]) : peak;
  for (float each : peaks.sum) peak = each > peak ? each : peak;
  const float exponents = sum_of(
      classes, [&](std::int64_t k) __attribute__((always_inline)) { return fast_exp(widen(x[k]) - peak); });
  const float sum = sum_of(
      classes, [&](std::int64_t k) __attribute__((always_inline)) { return widen(x[k]) - peak; });
  return {peak, std::log(exponents), sum};
}

/// dx (+)= factor * (softmax(x) - smooth), without the target's own term.
template <class T>
LOCKSTEP_HOT_LOOP void row_gradient(const T* x, T* dx, std::int64_t classes, const float* saved, float factor,
                                    float smooth, bool add) {
  const float peak = saved[0];
  const float log_sum = saved[1];
  for (std::int64_t k = 0; k < classes; ++k) {
    const float d = factor * (fast_exp((widen(x[k]) - peak) - log_sum) - smooth);
    dx[k] = narrow<T>(add ? widen(dx[k]) + d : d);
  }
}

template <class T>
class CrossEntropyKernel final : public CpuKernel {
 public:
  explicit CrossEntropyKernel(const Site& site)
      : CpuKernel(site, Dtype::f32),
        spec_(std::get<SoftmaxCrossEntropy>(site.request.node->spec)),
        rows_(rows_of(site.input())),
        samples_(site.input()[0]) {}

  [[nodiscard]] std::size_t saved_bytes() const override { return float_bytes(2 * rows_.count); }

 private:
  static constexpr std::int64_t kRowsPerTask = 16;

  /// Refuses labels before any thread starts, so that the fault reaches the stream.
  void check_labels(std::int64_t rows) const {
    const std::int32_t* targets = in<std::int32_t>(1);
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::int64_t target = targets[row];
      if (target == spec_.ignore_index || (target >= 0 && target < rows_.width)) continue;
      throw Error(Fault::data,
                  fmt::format("row {} has label {}, but there are {} classes", row, target, rows_.width),
                  "set the model's number of classes to the data's, or ignore_index to the label to skip");
    }
  }
  template <class Body>
  void for_rows(const Body& body) const {
    const Cut tasks = cut(rows_.count, kRowsPerTask);
    parallel_for(threads(), tasks.pieces, [&](std::int64_t task) {
      for (std::int64_t i = 0; i < tasks.size(task); ++i) body(tasks.first(task) + i);
    });
  }

  void run_forward(const Pass& pass) override {
    const std::int64_t counted = pass.rows < 0 ? samples_ : std::min(pass.rows, samples_);
    const std::int64_t end = counted * (rows_.count / samples_);
    check_labels(end);
    for_rows([&](std::int64_t row) { out<float>()[row] = row < end ? row_loss(row) : kIgnoredRow; });
  }
  float row_loss(std::int64_t row) {
    const std::int64_t target = in<std::int32_t>(1)[row];
    if (target == spec_.ignore_index) return kIgnoredRow;
    const T* x = in<T>() + row * rows_.width;
    const RowSums sums = row_sums(x, rows_.width);
    saved<float>()[2 * row] = sums.peak;
    saved<float>()[2 * row + 1] = sums.log_sum;
    const float own = sums.log_sum - (static_cast<float>(x[target]) - sums.peak);
    const float mean = sums.log_sum - sums.sum / static_cast<float>(rows_.width);
    return std::max((1 - spec_.label_smoothing) * own + spec_.label_smoothing * mean, 0.0F);
  }

  void run_backward(const Pass&) override {
    if (in_gradient<T>() == nullptr) return;
    const auto ignored = std::count(out<float>(), out<float>() + rows_.count, kIgnoredRow);
    const float share = 1.0F / static_cast<float>(std::max<std::int64_t>(rows_.count - ignored, 1));
    for_rows([&](std::int64_t row) { backward_row(row, share); });
  }
  void backward_row(std::int64_t row, float share) {
    const T* x = in<T>() + row * rows_.width;
    T* dx = in_gradient<T>() + row * rows_.width;
    if (out<float>()[row] == kIgnoredRow) {
      if (!adds()) std::fill(dx, dx + rows_.width, T(0.0F));
      return;
    }
    const float smooth = spec_.label_smoothing / static_cast<float>(rows_.width);
    row_gradient(x, dx, rows_.width, saved<float>() + 2 * row, share, smooth, adds());
    T& own = dx[in<std::int32_t>(1)[row]];
    own = T(static_cast<float>(own) - share * (1 - spec_.label_smoothing));
  }

  SoftmaxCrossEntropy spec_;
  Rows rows_;
  std::int64_t samples_;
};

}  // namespace

std::unique_ptr<Kernel> make_softmax_cross_entropy(const Site& site) {
  return make_typed<CrossEntropyKernel>(site);
}

}  // namespace lockstep::models::cpu
