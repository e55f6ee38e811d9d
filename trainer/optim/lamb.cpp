// Layer-wise adaptive moments: You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76
// Minutes", ICLR 2020. r = m' / (sqrt(v') + eps) + decay w;  w -= rate (|w| / |r|) r, with ratio 1 for biases
// and norms and when a norm is 0.
#include "trainer/optim/flat_optimizer.h"
#include "trainer/optim/rows.h"

namespace lockstep::trainer {

namespace {

constexpr Setting kSettings[] = {
    {"beta1", SettingType::real, "0.9", "decay of the first moment", "[0,1)"},
    {"beta2", SettingType::real, "0.999", "decay of the second moment", "[0,1)"},
    {"epsilon", SettingType::real, "1e-6", "added to the root of the second moment", "(0,inf)"},
    {"weight_decay", SettingType::real, "0.01", "decay of weights (never of biases and norms)", "[0,inf)"},
};

class Lamb final : public FlatOptimizer {
 public:
  Lamb(const Options& options, const SlotLayout& layout, Device device)
      : FlatOptimizer(layout, device, {"first", "second"}),
        rule_{.beta1 = options.real("beta1"),
              .beta2 = options.real("beta2"),
              .epsilon = static_cast<float>(options.real("epsilon")),
              .decoupled_decay = static_cast<float>(options.real("weight_decay"))} {}

 private:
  void update(Updater& updater, const UpdateArrays& arrays, const StepScalars* scalars,
              Stream& stream) override {
    updater.lamb(arrays, rule_, scalars, stream);
  }

  AdamRule rule_;
};

std::unique_ptr<Optimizer> make(const Options& options, const SlotLayout& layout, Device device) {
  return std::make_unique<Lamb>(options, layout, device);
}

}  // namespace

const OptimizerRegistry::Row kLamb{"lamb", "Adam with layer-wise trust ratios, for large batches", kSettings,
                                   make};

}  // namespace lockstep::trainer
