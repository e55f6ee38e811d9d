// Adam with decoupled weight decay: Loshchilov & Hutter, "Decoupled Weight Decay Regularization", ICLR 2019;
// without decay it is Adam (Kingma & Ba, 2015).
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
      : FlatOptimizer(layout, device, {"first", "second"}) {
    const auto decay = static_cast<float>(options.real("weight_decay"));
    const bool decoupled = options.boolean("decoupled");
    rule_ = {.beta1 = options.real("beta1"),
             .beta2 = options.real("beta2"),
             .epsilon = static_cast<float>(options.real("epsilon")),
             .decoupled_decay = decoupled ? decay : 0.0f,
             .coupled_decay = decoupled ? 0.0f : decay};
  }

  void take_momentum(std::int64_t after, bool refreshed) override {
    rule_.given_after = after;
    rule_.refreshed = refreshed;
  }

 private:
  void update(Updater& updater, const UpdateArrays& arrays, const StepScalars* scalars,
              Stream& stream) override {
    updater.adam(arrays, rule_, scalars, stream);
  }

  AdamRule rule_;
};

std::unique_ptr<Optimizer> make(const Options& options, const SlotLayout& layout, Device device) {
  return std::make_unique<AdamW>(options, layout, device);
}

}  // namespace

const OptimizerRegistry::Row kAdamW{"adamw", "Adam with decoupled weight decay", kSettings, make};

}  // namespace lockstep::trainer
