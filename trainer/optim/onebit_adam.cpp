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
        rule_{.beta1 = options.real("beta1"),
              .beta2 = options.real("beta2"),
              .epsilon = static_cast<float>(options.real("epsilon")),
              .decoupled_decay = static_cast<float>(options.real("weight_decay")),
              .freeze_steps = options.integer("freeze_steps")} {}

  /// The compressor knows from freeze_steps.
  void take_momentum(std::int64_t /*after*/, bool /*refreshed*/) override {}

 private:
  void update(Updater& updater, const UpdateArrays& arrays, const StepScalars* scalars,
              Stream& stream) override {
    updater.adam(arrays, rule_, scalars, stream);
  }

  AdamRule rule_;
};

std::unique_ptr<Optimizer> make(const Options& options, const SlotLayout& layout, Device device) {
  return std::make_unique<OneBitAdam>(options, layout, device);
}

}  // namespace

const OptimizerRegistry::Row kOneBitAdam{
    "onebit_adam", "Adam with a frozen second moment; needs compress.name onebit_adam", kSettings, make};

}  // namespace lockstep::trainer
