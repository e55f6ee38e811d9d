// Dropout (Srivastava et al. 2014), inverted: kept elements grow by 1 / (1 - rate); evaluation is the
// identity.
#include "models/ops/dropout_mask.h"
#include "models/ops/reference/kernel_base.h"
#include "models/ops/reference/kernels.h"

namespace lockstep::models::reference {
namespace {

template <class T>
class DropoutKernel final : public ReferenceKernel<T> {
 public:
  DropoutKernel(const Dropout& op, const KernelRequest& request)
      : ReferenceKernel<T>(request), op_(op), name_(request.node->name) {}
  [[nodiscard]] bool backward_needs_input(int) const override { return false; }
  [[nodiscard]] bool backward_needs_output() const override { return false; }
  [[nodiscard]] bool in_place() const override { return true; }

 private:
  /// to[i] (+)= factor(i) * from[i], where the factor is 0 or 1 / (1 - rate).
  template <class Apply>
  void for_each_factor(Apply apply) const {
    const std::int64_t samples = this->shape()[0];
    const std::int64_t elements = this->shape().count() / samples;
    const T kept = 1 / (1 - static_cast<T>(op_.rate));
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(elements), 1);
    const bool active = this->pass().mode == Mode::train && op_.rate > 0;
    for (std::int64_t n = 0; n < samples; ++n) {
      if (active) dropout_mask(this->pass().seed, name_, this->pass().first_sample + n, op_.rate, 0, mask);
      for (std::int64_t i = 0; i < elements; ++i) {
        const T factor = mask[static_cast<std::size_t>(i)] != 0 ? kept : T{0};
        apply(n * elements + i, active ? factor : T{1});
      }
    }
  }
  void compute() override {
    for_each_factor([&](auto i, T factor) { this->y()[i] = factor * this->x()[i]; });
  }
  void differentiate() override {
    for_each_factor([&](auto i, T factor) { this->dx()[i] += factor * this->dy()[i]; });
  }

  Dropout op_;
  std::string name_;
};

}  // namespace

LOCKSTEP_REFERENCE_KERNEL(Dropout, DropoutKernel);

}  // namespace lockstep::models::reference
