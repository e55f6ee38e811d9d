// 1-bit Adam (Tang et al., ICML 2021), the optimizing half; compressor `onebit_adam` is the other. In the
// first freeze_steps updates it is Adam without bias correction; then the second moment stands still, and
// what comes as gradient is the first moment itself, compressed on its way: w -= rate * (m / (sqrt(v) + eps)
// + decay * w).
#include "trainer/optim/flat_optimizer.h"
#include "trainer/optim/rows.h"

namespace lockstep::trainer {

namespace {

constexpr Setting kSettings[] = {
    {"beta1", SettingType::real, "0.9", "decay of the first moment", "[0,1)"},
    {"beta2", SettingType::real, "0.999", "decay of the second moment", "[0,1)"},
    {"epsilon", SettingType::real, "1e-8", "added to the root of the second moment", "(0,inf)"},
    {"weight_decay", SettingType::real, "0.01", "decoupled decay of weights (never of biases and norms)",
     "[0,inf)"},
    {"freeze_steps", SettingType::integer, "100",
     "exact updates before the second moment stands still; 15-25 % of a training", "[1,inf)"},
};

class OneBitAdam final : public FlatOptimizer {
 public:
  OneBitAdam(const Options& options, const SlotLayout& layout, Device device)
      : FlatOptimizer(layout, device, {"first", "second"}),
        beta1_(static_cast<float>(options.real("beta1"))),
        beta2_(static_cast<float>(options.real("beta2"))),
        epsilon_(static_cast<float>(options.real("epsilon"))),
        decay_(static_cast<float>(options.real("weight_decay"))),
        freeze_steps_(options.integer("freeze_steps")) {}

 private:
  void update(const Slot& slot, const SlotArrays& arrays, const StepScalars& scalars) override {
    const bool frozen = scalars.step >= freeze_steps_;
    adam_update(arrays, {.rate = scalars.rate,
                         .scale = scalars.gradient_scale * scalars.clip_factor,
                         .beta1 = frozen ? 0.0f : beta1_,  // the gradient is the moment
                         .beta2 = frozen ? 1.0f : beta2_,
                         .correction1 = 1,
                         .correction2 = 1,
                         .epsilon = epsilon_,
                         .decoupled_decay = slot.decays ? decay_ : 0.0f,
                         .coupled_decay = 0});
  }

  float beta1_, beta2_, epsilon_, decay_;
  std::int64_t freeze_steps_;
};

std::unique_ptr<Optimizer> make(const Options& options, const SlotLayout& layout, Device device) {
  return std::make_unique<OneBitAdam>(options, layout, device);
}

}  // namespace

const OptimizerRegistry::Row kOneBitAdam{
    "onebit_adam", "Adam with a frozen second moment; needs compress.name onebit_adam", kSettings, make};

}  // namespace lockstep::trainer
