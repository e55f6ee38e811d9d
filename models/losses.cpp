// The losses as a config names them.
#include "models/rows.h"

namespace lockstep::models {
namespace {

constexpr Setting kCrossEntropySettings[] = {
    {"label_smoothing", SettingType::real, "0", "share of the target spread over all classes", "[0,1)"},
    {"ignore_index", SettingType::integer, "-100", "rows with this target do not count"},
};
constexpr Setting kSmoothL1Settings[] = {
    {"beta", SettingType::real, "1", "error at which the loss turns from square to linear", "(0,inf)"},
};

/// A spec made once.
class Fixed final : public LossChoice {
 public:
  explicit Fixed(const OpSpec& spec) : spec_(spec) {}
  [[nodiscard]] OpSpec spec() const override { return spec_; }

 private:
  OpSpec spec_;
};

}  // namespace

std::span<const Setting> softmax_cross_entropy_settings() noexcept { return kCrossEntropySettings; }
std::unique_ptr<LossChoice> make_softmax_cross_entropy(const Options& options) {
  return std::make_unique<Fixed>(
      SoftmaxCrossEntropy{.label_smoothing = static_cast<float>(options.real("label_smoothing")),
                          .ignore_index = options.integer("ignore_index")});
}

std::unique_ptr<LossChoice> make_mse(const Options&) { return std::make_unique<Fixed>(MeanSquaredError{}); }

std::span<const Setting> smooth_l1_settings() noexcept { return kSmoothL1Settings; }
std::unique_ptr<LossChoice> make_smooth_l1(const Options& options) {
  return std::make_unique<Fixed>(SmoothL1{.beta = static_cast<float>(options.real("beta"))});
}

}  // namespace lockstep::models
