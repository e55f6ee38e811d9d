// Stochastic gradient descent with (Nesterov) momentum as PyTorch defines it: m = mu m + d, w -= rate m, no
// dampening.
#include "trainer/optim/flat_optimizer.h"
#include "trainer/optim/rows.h"

namespace lockstep::trainer {

namespace {

constexpr Setting kSettings[] = {
    {"momentum", SettingType::real, "0.9", "share of the last update kept", "[0,1)"},
    {"nesterov", SettingType::boolean, "false", "look ahead by one momentum step"},
    {"weight_decay", SettingType::real, "0", "decay of weights (never of biases and norms)", "[0,inf)"},
    {"decoupled", SettingType::boolean, "false",
     "true: decay by rate * weight_decay * w beside the gradient; false: L2, through the momentum"},
};

class Sgd final : public FlatOptimizer {
 public:
  Sgd(const Options& options, const SlotLayout& layout, Device device)
      : FlatOptimizer(layout, device, {"momentum"}) {
    const auto decay = static_cast<float>(options.real("weight_decay"));
    const bool decoupled = options.boolean("decoupled");
    rule_ = {.momentum = static_cast<float>(options.real("momentum")),
             .coupled_decay = decoupled ? 0.0f : decay,
             .decoupled_decay = decoupled ? decay : 0.0f,
             .nesterov = options.boolean("nesterov")};
  }

  void take_momentum(std::int64_t /*after*/, bool /*refreshed*/) override { rule_.decay_only = true; }

 private:
  void update(Updater& updater, const UpdateArrays& arrays, const StepScalars* scalars,
              Stream& stream) override {
    updater.sgd(arrays, rule_, scalars, stream);
  }

  SgdRule rule_;
};

std::unique_ptr<Optimizer> make(const Options& options, const SlotLayout& layout, Device device) {
  return std::make_unique<Sgd>(options, layout, device);
}

}  // namespace

const OptimizerRegistry::Row kSgd{"sgd", "gradient descent with (Nesterov) momentum", kSettings, make};

}  // namespace lockstep::trainer
