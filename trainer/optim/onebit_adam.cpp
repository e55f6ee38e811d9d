// 1-bit Adam (Tang et al., ICML 2021), the optimizing half; compressor `onebit_adam` is the other. While
// gradients are summed exactly it is Adam without bias correction; then the second moment stands still, and
// what comes as gradient is the first moment itself, compressed on its way: w -= rate * (m / (sqrt(v) + eps)
// + decay * w).
#include <limits>

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
    {"freeze_steps", SettingType::integer, "0",
     "exact updates before the second moment stands still; 0: a fifth of the training", "[0,inf)"},
};

constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

class OneBitAdam final : public FlatOptimizer {
 public:
  OneBitAdam(const Options& options, const SlotLayout& layout, Device device)
      : FlatOptimizer(layout, device, {"first", "second"}),
        rule_{.beta1 = options.real("beta1"),
              .beta2 = options.real("beta2"),
              .epsilon = static_cast<float>(options.real("epsilon")),
              .decoupled_decay = static_cast<float>(options.real("weight_decay")),
              .freeze_steps = kNever} {}

  void take_momentum(std::int64_t after, bool /*refreshed*/) override { rule_.freeze_steps = after; }

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
