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
        rule_{.momentum = static_cast<float>(options.real("momentum")),
              .decay = static_cast<float>(options.real("weight_decay")),
              .trust = options.real("trust"),
              .epsilon = options.real("epsilon")} {}

 private:
  void update(Updater& updater, const UpdateArrays& arrays, const StepScalars* scalars,
              Stream& stream) override {
    updater.lars(arrays, rule_, scalars, stream);
  }

  LarsRule rule_;
};

std::unique_ptr<Optimizer> make(const Options& options, const SlotLayout& layout, Device device) {
  return std::make_unique<Lars>(options, layout, device);
}

}  // namespace

const OptimizerRegistry::Row kLars{"lars", "momentum with layer-wise trust ratios, for large batches",
                                   kSettings, make};

}  // namespace lockstep::trainer
