// Layer-wise adaptive rate scaling: You, Gitman & Ginsburg, "Large Batch Training of Convolutional Networks",
// 2017. Per slot trust = eta |w| / (|g| + decay |w|), 1 for biases and norms and when a norm is 0; m = mu m +
// rate trust (g + decay w); w -= m, so the rate lies inside the momentum as in the paper (and in MLPerf's
// "torch LARS").
#include "trainer/optim/flat_optimizer.h"
#include "trainer/optim/rows.h"

namespace lockstep::trainer {

namespace {

constexpr Setting kSettings[] = {
    {"momentum", SettingType::real, "0.9", "share of the last update kept", "[0,1)"},
    {"weight_decay", SettingType::real, "5e-5", "decay of weights (never of biases and norms)", "[0,inf)"},
    {"trust", SettingType::real, "0.001", "eta: trusted ratio of update to weight norm", "(0,inf)"},
    {"epsilon", SettingType::real, "1e-9", "added to the denominator of the trust ratio", "[0,inf)"},
};

class Lars final : public FlatOptimizer {
 public:
  Lars(const Options& options, const SlotLayout& layout, Device device)
      : FlatOptimizer(layout, device, {"momentum"}),
        momentum_(static_cast<float>(options.real("momentum"))),
        decay_(static_cast<float>(options.real("weight_decay"))),
        trust_(options.real("trust")),
        epsilon_(options.real("epsilon")) {}

 private:
  void update(const Slot& slot, const SlotArrays& arrays, const StepScalars& scalars) override {
    const float scale = scalars.gradient_scale * scalars.clip_factor;
    const float rate = scalars.rate * static_cast<float>(slot.decays ? ratio(arrays, scale) : 1.0);
    const float decay = slot.decays ? decay_ : 0.0f;
    for (std::size_t i = 0; i < arrays.values.size(); ++i) {
      const float d = arrays.gradients[i] * scale + decay * arrays.values[i];
      arrays.first[i] = momentum_ * arrays.first[i] + rate * d;
      arrays.values[i] -= arrays.first[i];
    }
  }

  [[nodiscard]] double ratio(const SlotArrays& arrays, float scale) const {
    const double weights = norm(arrays.values);
    const double gradients = norm(arrays.gradients) * scale;
    if (weights == 0 || gradients == 0) return 1.0;
    return trust_ * weights / (gradients + static_cast<double>(decay_) * weights + epsilon_);
  }

  float momentum_, decay_;
  double trust_, epsilon_;
};

std::unique_ptr<Optimizer> make(const Options& options, const SlotLayout& layout, Device device) {
  return std::make_unique<Lars>(options, layout, device);
}

}  // namespace

const OptimizerRegistry::Row kLars{"lars", "momentum with layer-wise trust ratios, for large batches",
                                   kSettings, make};

}  // namespace lockstep::trainer
