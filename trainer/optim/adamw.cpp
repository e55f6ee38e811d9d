// Adam with decoupled weight decay: Loshchilov & Hutter, "Decoupled Weight Decay Regularization", ICLR 2019;
// without decay it is Adam (Kingma & Ba, 2015).
#include <cmath>

#include "trainer/optim/flat_optimizer.h"
#include "trainer/optim/rows.h"

namespace lockstep::trainer {

namespace {

constexpr Setting kSettings[] = {
    {"beta1", SettingType::real, "0.9", "decay of the first moment", "[0,1)"},
    {"beta2", SettingType::real, "0.999", "decay of the second moment", "[0,1)"},
    {"epsilon", SettingType::real, "1e-8", "added to the root of the second moment", "(0,inf)"},
    {"weight_decay", SettingType::real, "0.01", "decay of weights (never of biases and norms)", "[0,inf)"},
    {"decoupled", SettingType::boolean, "true", "true: AdamW; false: L2 through the moments"},
};

class AdamW final : public FlatOptimizer {
 public:
  AdamW(const Options& options, const SlotLayout& layout, Device device)
      : FlatOptimizer(layout, device, {"first", "second"}),
        beta1_(options.real("beta1")),
        beta2_(options.real("beta2")),
        epsilon_(static_cast<float>(options.real("epsilon"))),
        decay_(static_cast<float>(options.real("weight_decay"))),
        decoupled_(options.boolean("decoupled")) {}

 private:
  void update(const Slot& slot, const SlotArrays& arrays, const StepScalars& scalars) override {
    const float decay = slot.decays ? decay_ : 0.0f;
    const auto t = static_cast<double>(scalars.step + 1);
    adam_update(arrays, {.rate = scalars.rate,
                         .scale = scalars.gradient_scale * scalars.clip_factor,
                         .beta1 = static_cast<float>(beta1_),
                         .beta2 = static_cast<float>(beta2_),
                         .correction1 = static_cast<float>(1.0 / (1.0 - std::pow(beta1_, t))),
                         .correction2 = static_cast<float>(1.0 / (1.0 - std::pow(beta2_, t))),
                         .epsilon = epsilon_,
                         .decoupled_decay = decoupled_ ? decay : 0.0f,
                         .coupled_decay = decoupled_ ? 0.0f : decay});
  }

  double beta1_, beta2_;
  float epsilon_, decay_;
  bool decoupled_;
};

std::unique_ptr<Optimizer> make(const Options& options, const SlotLayout& layout, Device device) {
  return std::make_unique<AdamW>(options, layout, device);
}

}  // namespace

const OptimizerRegistry::Row kAdamW{"adamw", "Adam with decoupled weight decay", kSettings, make};

}  // namespace lockstep::trainer
