// Layer-wise adaptive moments: You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76
// Minutes", ICLR 2020. r = m' / (sqrt(v') + eps) + decay w;  w -= rate (|w| / |r|) r, with ratio 1 for biases
// and norms and when a norm is 0.
#include <cmath>
#include <vector>

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
        beta1_(options.real("beta1")),
        beta2_(options.real("beta2")),
        epsilon_(static_cast<float>(options.real("epsilon"))),
        decay_(static_cast<float>(options.real("weight_decay"))) {}

 private:
  void update(const Slot& slot, const SlotArrays& arrays, const StepScalars& scalars) override {
    direction_.resize(arrays.values.size());
    adam_direction(arrays, numbers(slot, scalars), direction_);
    const double weights = norm(arrays.values);
    const double length = norm(direction_);
    const bool trusted = slot.decays && weights > 0 && length > 0;
    const float rate = scalars.rate * static_cast<float>(trusted ? weights / length : 1.0);
    for (std::size_t i = 0; i < direction_.size(); ++i) arrays.values[i] -= rate * direction_[i];
  }

  [[nodiscard]] AdamNumbers numbers(const Slot& slot, const StepScalars& scalars) const {
    const auto t = static_cast<double>(scalars.step + 1);
    return {.rate = scalars.rate,
            .scale = scalars.gradient_scale * scalars.clip_factor,
            .beta1 = static_cast<float>(beta1_),
            .beta2 = static_cast<float>(beta2_),
            .correction1 = static_cast<float>(1.0 / (1.0 - std::pow(beta1_, t))),
            .correction2 = static_cast<float>(1.0 / (1.0 - std::pow(beta2_, t))),
            .epsilon = epsilon_,
            .decoupled_decay = slot.decays ? decay_ : 0.0f,
            .coupled_decay = 0.0f};
  }

  double beta1_, beta2_;
  float epsilon_, decay_;
  std::vector<float> direction_;
};

std::unique_ptr<Optimizer> make(const Options& options, const SlotLayout& layout, Device device) {
  return std::make_unique<Lamb>(options, layout, device);
}

}  // namespace

const OptimizerRegistry::Row kLamb{"lamb", "Adam with layer-wise trust ratios, for large batches", kSettings,
                                   make};

}  // namespace lockstep::trainer
