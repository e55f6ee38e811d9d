// ReLU, leaky ReLU and GELU as kernels of their own. The ReLUs work in place: their gradient is known from
// the output.
#include "models/ops/cpu/kernels.h"
#include "models/ops/cpu/rowwise.h"

namespace lockstep::models::cpu {
namespace {

template <class T>
class ActivationKernel final : public CpuKernel {
 public:
  explicit ActivationKernel(const Site& site)
      : CpuKernel(site), epilogue_(epilogue_of(site.request.node->spec)), count_(site.input().count()) {}

  [[nodiscard]] bool in_place() const override { return from_output(); }
  [[nodiscard]] bool gradient_in_place(int) const override { return true; }
  [[nodiscard]] bool backward_needs_input(int) const override { return !from_output(); }
  [[nodiscard]] bool backward_needs_output() const override { return from_output(); }

 private:
  [[nodiscard]] bool from_output() const { return !reads_input(epilogue_); }
  void run_forward(const Pass&) override { activate(in<T>(), out<T>(), count_, epilogue_, threads()); }
  void run_backward(const Pass&) override {
    if (in_gradient<T>() == nullptr) return;
    const T* kept = from_output() ? out<T>() : in<T>();
    activate_backward<T>({kept, out_gradient<T>(), in_gradient<T>(), adds()}, count_, epilogue_, threads());
  }
  Epilogue epilogue_;
  std::int64_t count_;
};

}  // namespace

std::unique_ptr<Kernel> make_activation(const Site& site) { return make_typed<ActivationKernel>(site); }

}  // namespace lockstep::models::cpu
