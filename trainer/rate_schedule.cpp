#include "trainer/rate_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

namespace lockstep::trainer {

namespace {

constexpr Setting kStepSettings[] = {
    {"at", SettingType::reals, "[0.5, 0.75]", "where the rate drops, as parts of the training after warm-up",
     "[0,1]"},
    {"factor", SettingType::real, "0.1", "what each drop multiplies by", "(0,1]"},
};
constexpr Setting kCosineSettings[] = {
    {"final", SettingType::real, "0", "rate at the end as a part of the peak", "[0,1]"},
};
constexpr Setting kLinearSettings[] = {
    {"final", SettingType::real, "0", "rate at the end as a part of the peak", "[0,1]"},
};
constexpr Setting kRateSettings[] = {
    {"peak", SettingType::real, "0.1", "learning rate after warm-up", "(0,inf)"},
    {"warmup_steps", SettingType::integer, "0", "steps of linear warm-up", "[0,inf)"},
    {"warmup_from", SettingType::real, "0", "first rate as a part of the peak", "[0,1]"},
    {"scaling", SettingType::text, "none", "how the peak grows with the global batch", "none|linear|sqrt"},
    {"reference_batch", SettingType::integer, "256", "global batch for which the peak is stated", "[1,inf)"},
};

class Constant final : public RateShape {
 public:
  [[nodiscard]] double factor(std::int64_t, std::int64_t) const override { return 1; }
};

class Steps final : public RateShape {
 public:
  explicit Steps(const Options& options) : at_(options.reals("at")), factor_(options.real("factor")) {}
  [[nodiscard]] double factor(std::int64_t step, std::int64_t steps) const override {
    const auto dropped = std::count_if(at_.begin(), at_.end(), [&](double part) {
      return static_cast<double>(step) >= part * static_cast<double>(steps);
    });
    return std::pow(factor_, static_cast<double>(dropped));
  }

 private:
  std::vector<double> at_;
  double factor_;
};

/// Where training is between warm-up and the last step, in [0, 1].
double progress(std::int64_t step, std::int64_t steps) {
  return steps <= 0 ? 1.0 : std::clamp(static_cast<double>(step) / static_cast<double>(steps), 0.0, 1.0);
}

class Cosine final : public RateShape {
 public:
  explicit Cosine(const Options& options) : final_(options.real("final")) {}
  [[nodiscard]] double factor(std::int64_t step, std::int64_t steps) const override {
    return final_ + (1 - final_) * 0.5 * (1 + std::cos(std::numbers::pi * progress(step, steps)));
  }

 private:
  double final_;
};

class Linear final : public RateShape {
 public:
  explicit Linear(const Options& options) : final_(options.real("final")) {}
  [[nodiscard]] double factor(std::int64_t step, std::int64_t steps) const override {
    return 1 + (final_ - 1) * progress(step, steps);
  }

 private:
  double final_;
};

using Row = Registry<RateShape>::Row;
const Row kRows[] = {
    {"constant",
     "the peak throughout",
     {},
     [](const Options&) -> std::unique_ptr<RateShape> { return std::make_unique<Constant>(); }},
    {"step", "drops by a factor at given points", kStepSettings,
     [](const Options& options) -> std::unique_ptr<RateShape> { return std::make_unique<Steps>(options); }},
    {"cosine", "half a cosine down to the final rate (Loshchilov & Hutter, 2017)", kCosineSettings,
     [](const Options& options) -> std::unique_ptr<RateShape> { return std::make_unique<Cosine>(options); }},
    {"linear", "a straight line down to the final rate", kLinearSettings,
     [](const Options& options) -> std::unique_ptr<RateShape> { return std::make_unique<Linear>(options); }},
};

double scaled(const Options& settings, std::int64_t global_batch) {
  const double ratio =
      static_cast<double>(global_batch) / static_cast<double>(settings.integer("reference_batch"));
  const std::string rule = settings.text("scaling");
  if (rule == "linear") return ratio;
  if (rule == "sqrt") return std::sqrt(ratio);
  return 1;
}

}  // namespace

const Registry<RateShape>& rate_shapes() {
  static const Registry<RateShape> kTable("rate_shape", kRows);
  return kTable;
}

std::span<const Setting> rate_settings() { return kRateSettings; }

RateSchedule::RateSchedule(const Options& settings, std::unique_ptr<RateShape> shape,
                           std::int64_t global_batch, std::int64_t steps)
    : shape_(std::move(shape)),
      peak_(settings.real("peak") * scaled(settings, global_batch)),
      start_factor_(settings.real("warmup_from")),
      warmup_(settings.integer("warmup_steps")),
      steps_(steps) {
  if (warmup_ > steps_) {
    throw Error(Fault::config,
                settings.where("warmup_steps") + " is " + std::to_string(warmup_) +
                    " but training has only " + std::to_string(steps_) + " steps",
                "lower rate.warmup_steps or train longer");
  }
}

float RateSchedule::at(std::int64_t step) const {
  if (step < warmup_) {
    // The first step already moves: rate (step + 1) / warm-up of the way up.
    const double way = static_cast<double>(step + 1) / static_cast<double>(warmup_);
    return static_cast<float>(peak_ * (start_factor_ + (1 - start_factor_) * way));
  }
  return static_cast<float>(peak_ * shape_->factor(step - warmup_, steps_ - warmup_));
}

}  // namespace lockstep::trainer
