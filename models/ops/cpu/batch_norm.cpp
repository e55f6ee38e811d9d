// Batch norm, optionally with a residual added and a ReLU after it, as own loops in two passes each way
// (Ioffe & Szegedy 2015). Moments are taken about the first row in f32 blocks and combined in f64, so a large
// mean costs no precision. Synchronised: each rank's sums go through the sum hook between the passes, first
// for the mean, then for squares about the common mean.
#include <algorithm>
#include <cmath>
#include <vector>

#include "models/ops/cpu/batch_norm_loops.h"
#include "models/ops/cpu/kernels.h"
#include "models/ops/cpu/rowwise.h"

namespace lockstep::models::cpu {
namespace {

template <class T>
class BatchNormKernel final : public CpuKernel {
 public:
  explicit BatchNormKernel(const Site& site)
      : CpuKernel(site),
        spec_(std::get<BatchNorm>(site.request.node->spec)),
        sum_(spec_.synchronised ? site.options.sum : SumHook{}),
        folded_(rows_of(site.input())),
        total_(static_cast<double>(folded_.rows) * (sum_ ? site.options.ranks : 1)),
        relu_(std::holds_alternative<Relu>(site.last().spec)),
        residual_(site.request.inputs.size() > 1) {}

  [[nodiscard]] std::vector<StorageOrderPtr> parameter_storage() const override { return {nullptr, nullptr}; }
  /// Per channel: mean, 1 / deviation; and two arrays that cross the sum hook.
  [[nodiscard]] std::size_t saved_bytes() const override { return float_bytes(4 * folded_.channels); }
  [[nodiscard]] std::size_t workspace_bytes() const override {
    return float_bytes((2 * folded_.blocks.pieces + 5) * folded_.width());
  }
  [[nodiscard]] bool backward_needs_input(int input) const override { return input == 0; }
  [[nodiscard]] bool backward_needs_output() const override { return relu_ && residual_; }
  /// The residual's gradient is the masked gradient of the output.
  [[nodiscard]] bool gradient_in_place(int input) const override { return input == 1; }

  void forward(const Pass& pass, Stream& stream) override {
    if (pass.mode == Mode::evaluate) return enqueue(stream, this, &BatchNormKernel::run_evaluate, pass);
    if (!sum_) return enqueue(stream, this, &BatchNormKernel::run_forward, pass);
    enqueue(stream, this, &BatchNormKernel::local_moments, pass);
    sum_(hooked(1), stream);
    enqueue(stream, this, &BatchNormKernel::about_common_mean, pass);
    sum_(hooked(1), stream);
    enqueue(stream, this, &BatchNormKernel::finish_forward, pass);
  }
  void backward(const Pass& pass, Stream& stream) override {
    if (!sum_ || pass.mode == Mode::evaluate)
      return enqueue(stream, this, &BatchNormKernel::run_backward, pass);
    enqueue(stream, this, &BatchNormKernel::local_gradient_sums, pass);
    sum_(hooked(2), stream);
    enqueue(stream, this, &BatchNormKernel::finish_backward, pass);
  }

 private:
  float* mean() const { return saved<float>(); }
  float* inverse_deviation() const { return mean() + folded_.channels; }
  float* exchanged(int i) const { return mean() + (2 + i) * folded_.channels; }
  FlatSpan hooked(int arrays) const {
    return {exchanged(0), arrays * folded_.channels, Dtype::f32, Device{}};
  }
  /// Coefficients repeated over a wide row, and the blocks' partial sums.
  float* wide(int i) const { return workspace<float>() + i * folded_.width(); }
  float* partial(std::int64_t block, int i) const {
    return workspace<float>() + (5 + 2 * block + i) * folded_.width();
  }
  void repeat(int i) const {
    for (std::int64_t c = folded_.channels; c < folded_.width(); ++c)
      wide(i)[c] = wide(i)[c - folded_.channels];
  }
  /// Sum over blocks and folds of partial array `i` for channel c.
  double gathered(int i, std::int64_t c) const {
    double sum = 0;
    for (std::int64_t block = 0; block < folded_.blocks.pieces; ++block)
      for (std::int64_t column = c; column < folded_.width(); column += folded_.channels)
        sum += partial(block, i)[column];
    return sum;
  }
  template <class Body>
  void for_blocks(const Body& body) const {
    parallel_for(threads(), folded_.blocks.pieces, body);
  }

  void run_forward(const Pass& pass) override {
    const double n = static_cast<double>(folded_.rows);
    block_moments();
    for (std::int64_t c = 0; c < folded_.channels; ++c) {
      const double about = gathered(0, c) / n;
      mean()[c] = static_cast<float>(wide(0)[c] + about);
      exchanged(0)[c] = static_cast<float>(std::max(gathered(1, c) - n * about * about, 0.0));
    }
    finish_forward(pass);
  }

  void block_moments() {
    for (std::int64_t c = 0; c < folded_.channels; ++c) wide(0)[c] = static_cast<float>(in<T>()[c]);
    repeat(0);
    for_blocks([&](std::int64_t b) { moments(in<T>(), folded_, b, wide(0), partial(b, 0), partial(b, 1)); });
  }

  void local_moments(const Pass&) {
    const double n = static_cast<double>(folded_.rows);
    block_moments();
    for (std::int64_t c = 0; c < folded_.channels; ++c) {
      const double about = gathered(0, c) / n;
      mean()[c] = static_cast<float>(wide(0)[c] + about);
      exchanged(1)[c] = static_cast<float>(std::max(gathered(1, c) - n * about * about, 0.0));
      exchanged(0)[c] = static_cast<float>(mean()[c] * n);
    }
  }
  void about_common_mean(const Pass&) {
    for (std::int64_t c = 0; c < folded_.channels; ++c) {
      const double common = exchanged(0)[c] / total_;
      const double away = mean()[c] - common;
      mean()[c] = static_cast<float>(common);
      exchanged(0)[c] = static_cast<float>(exchanged(1)[c] + static_cast<double>(folded_.rows) * away * away);
    }
  }
  /// From the mean and the sum of squares about it.
  void finish_forward(const Pass& pass) {
    for (std::int64_t c = 0; c < folded_.channels; ++c) {
      const double variance = exchanged(0)[c] / total_;
      inverse_deviation()[c] = static_cast<float>(1.0 / std::sqrt(variance + spec_.epsilon));
      record(pass, c, exchanged(0)[c]);
    }
    apply(pass);
  }
  void record(const Pass& pass, std::int64_t c, double squares) {
    float& to_mean = state(pass.statistics, 0)[c];
    float& to_variance = state(pass.statistics, 1)[c];
    const auto unbiased = static_cast<float>(squares / std::max(total_ - 1, 1.0));
    to_mean = mean()[c] + (pass.accumulate ? to_mean : 0.0F);
    to_variance = unbiased + (pass.accumulate ? to_variance : 0.0F);
  }
  void run_evaluate(const Pass& pass) {
    const float* running = state(pass.state, 1);
    std::copy_n(state(pass.state, 0), folded_.channels, mean());
    for (std::int64_t c = 0; c < folded_.channels; ++c)
      inverse_deviation()[c] =
          static_cast<float>(1.0 / std::sqrt(static_cast<double>(running[c]) + spec_.epsilon));
    apply(pass);
  }

  void coefficients(const Pass& pass) {
    const float* gamma = slot(pass.values, 0);
    const float* beta = slot(pass.values, 1);
    for (std::int64_t c = 0; c < folded_.channels; ++c) {
      wide(0)[c] = gamma[c] * inverse_deviation()[c];
      wide(1)[c] = beta[c] - mean()[c] * wide(0)[c];
    }
    repeat(0);
    repeat(1);
  }
  void apply(const Pass& pass) {
    coefficients(pass);
    const Normalise<T> a{in<T>(), residual_ ? in<T>(1) : nullptr, out<T>(), wide(0), wide(1), relu_};
    for_blocks([&](std::int64_t b) { normalise(a, folded_, b); });
  }

  BatchNormBackward<T> backward_plan() const {
    const T* y = relu_ && residual_ ? out<T>() : nullptr;
    return {in<T>(), y, out_gradient<T>(), wide(2), wide(0), wide(1), relu_};
  }
  void run_backward(const Pass& pass) override {
    local_gradient_sums(pass);
    finish_backward(pass);
  }
  void local_gradient_sums(const Pass& pass) {
    coefficients(pass);
    for (std::int64_t c = 0; c < folded_.channels; ++c) wide(2)[c] = mean()[c];
    repeat(2);
    const auto plan = backward_plan();
    for_blocks([&](std::int64_t b) { gradient_sums(plan, folded_, b, partial(b, 0), partial(b, 1)); });
    float* gamma = slot(pass.gradients, 0);
    float* beta = slot(pass.gradients, 1);
    for (std::int64_t c = 0; c < folded_.channels; ++c) {
      exchanged(0)[c] = static_cast<float>(gathered(0, c));
      exchanged(1)[c] = static_cast<float>(gathered(1, c));
      beta[c] = exchanged(0)[c] + (pass.accumulate ? beta[c] : 0.0F);
      gamma[c] = exchanged(1)[c] * inverse_deviation()[c] + (pass.accumulate ? gamma[c] : 0.0F);
    }
  }
  /// The workspace may have been used by others while the hook ran: coefficients are made again. In
  /// evaluation the statistics are constants, and their share of the gradient vanishes.
  void finish_backward(const Pass& pass) {
    if (sum_) coefficients(pass);
    const double share = pass.mode == Mode::evaluate ? 0 : 1 / total_;
    for (std::int64_t c = 0; c < folded_.channels; ++c) {
      const double inverse = inverse_deviation()[c];
      wide(2)[c] = mean()[c];
      wide(3)[c] = static_cast<float>(wide(0)[c] * inverse * inverse * exchanged(1)[c] * share);
      wide(4)[c] = static_cast<float>(wide(0)[c] * static_cast<double>(exchanged(0)[c]) * share);
    }
    for (int i = 2; i < 5; ++i) repeat(i);
    input_gradients();
  }
  void input_gradients() {
    const auto plan = backward_plan();
    const BatchNormInput<T> to{in_gradient<T>(), adds(), wide(3), wide(4)};
    if (to.dx != nullptr) for_blocks([&](std::int64_t b) { input_gradient(plan, to, folded_, b); });
    if (!residual_ || in_gradient<T>(1) == nullptr || in_gradient<T>(1) == out_gradient<T>()) return;
    store(out_gradient<T>(), in_gradient<T>(1), folded_.rows * folded_.channels, adds(1), threads());
  }

  BatchNorm spec_;
  SumHook sum_;
  Folded folded_;
  double total_;
  bool relu_, residual_;
};

}  // namespace

std::unique_ptr<Kernel> make_batch_norm(const Site& site) { return make_typed<BatchNormKernel>(site); }

}  // namespace lockstep::models::cpu
