// Dropout: the mask of a sample is a function of (seed, node, global sample), kept as a byte per element from
// forward to backward. Images hold it in storage order.
#include "models/ops/dropout_mask.h"

#include <algorithm>
#include <string>
#include <vector>

#include "core/cpu_dispatch.h"
#include "models/ops/cpu/element.h"
#include "models/ops/cpu/kernels.h"
#include "models/ops/cpu/parallel.h"
#include "models/ops/cpu/rowwise.h"

namespace lockstep::models::cpu {
namespace {

template <class T, bool kAdd>
LOCKSTEP_HOT_LOOP void apply_mask(const T* x, const std::uint8_t* mask, T* y, std::int64_t count,
                                  float factor) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i) {
    const float v = mask[i] != 0 ? widen(x[i]) * factor : 0.0F;
    y[i] = narrow<T>(kAdd ? widen(y[i]) + v : v);
  }
}

template <class T>
class DropoutKernel final : public CpuKernel {
 public:
  explicit DropoutKernel(const Site& site)
      : CpuKernel(site),
        rate_(std::get<Dropout>(site.request.node->spec).rate),
        name_(site.request.node->name),
        samples_(site.input()[0]),
        elements_(site.input().count() / site.input()[0]),
        channels_(image_order(site.input()) ? site.input()[1] : 1) {}

  [[nodiscard]] bool in_place() const override { return true; }
  [[nodiscard]] bool backward_needs_input(int) const override { return false; }
  [[nodiscard]] bool backward_needs_output() const override { return false; }
  [[nodiscard]] std::size_t saved_bytes() const override {
    return static_cast<std::size_t>(samples_ * elements_);
  }
  /// Dense masks of images before they are transposed.
  [[nodiscard]] std::size_t workspace_bytes() const override { return channels_ > 1 ? saved_bytes() : 0; }

 private:
  [[nodiscard]] bool active(const Pass& pass) const { return pass.mode == Mode::train && rate_ > 0; }

  void make_mask(const Pass& pass, std::int64_t n) {
    std::uint8_t* mask = saved<std::uint8_t>() + n * elements_;
    std::uint8_t* dense = channels_ > 1 ? workspace<std::uint8_t>() + n * elements_ : mask;
    dropout_mask(pass.seed, name_, pass.first_sample + n, rate_, 0,
                 {dense, static_cast<std::size_t>(elements_)});
    const std::int64_t pixels = elements_ / channels_;
    for (std::int64_t c = 0; channels_ > 1 && c < channels_; ++c)
      for (std::int64_t p = 0; p < pixels; ++p) mask[p * channels_ + c] = dense[c * pixels + p];
  }
  void run_forward(const Pass& pass) override {
    const bool masks = active(pass);
    if (!masks && in<T>() == out<T>()) return;
    parallel_for(threads(), samples_, [&](std::int64_t n) {
      if (masks) make_mask(pass, n);
      pass_on(in<T>(), out<T>(), n, false, masks);
    });
  }
  void run_backward(const Pass& pass) override {
    if (in_gradient<T>() == nullptr) return;
    const bool masks = active(pass);
    if (!masks && in_gradient<T>() == out_gradient<T>()) return;
    parallel_for(threads(), samples_,
                 [&](std::int64_t n) { pass_on(out_gradient<T>(), in_gradient<T>(), n, adds(), masks); });
  }
  void pass_on(const T* from, T* to, std::int64_t n, bool add, bool masks) const {
    const std::int64_t at = n * elements_;
    const std::uint8_t* mask = saved<std::uint8_t>() + at;
    const float factor = 1.0F / (1.0F - rate_);
    if (!masks)
      store(from + at, to + at, elements_, add, 1);
    else if (add)
      apply_mask<T, true>(from + at, mask, to + at, elements_, factor);
    else
      apply_mask<T, false>(from + at, mask, to + at, elements_, factor);
  }

  float rate_;
  std::string name_;
  std::int64_t samples_, elements_, channels_;
};

}  // namespace

std::unique_ptr<Kernel> make_dropout(const Site& site) { return make_typed<DropoutKernel>(site); }

}  // namespace lockstep::models::cpu
