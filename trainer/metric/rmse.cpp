// Root mean square error over all elements of a field, in the units of the data: predictions and targets are
// normalised, so the error is multiplied by `unit`, the deviation that normalisation divided by.
#include <cmath>
#include <cstddef>
#include <numbers>

#include "trainer/metric/rows.h"

namespace lockstep::trainer {

namespace {

constexpr Setting kSettings[] = {
    {"by_area", SettingType::boolean, "false",
     "rows are latitudes from pole to pole: weigh each by the area of its cells, the cosine of its latitude"},
    {"unit", SettingType::real, "1", "multiplies the error: the deviation that targets were divided by",
     "(0,inf)"},
};

class Rmse final : public Metric {
 public:
  explicit Rmse(const Options& options) : unit_(options.real("unit")), by_area_(options.boolean("by_area")) {}
  [[nodiscard]] std::string_view lacks(const Judged& samples) const noexcept override {
    return samples.classes == 0 ? "" : "fields";
  }
  void add(const Evaluated& batch) override {
    losses_.add(batch);
    const std::int64_t per_sample = batch.target_shape.count() / batch.target_shape[0];
    const auto* target = static_cast<const float*>(batch.target);
    const std::int64_t width = batch.target_shape[batch.target_shape.rank() - 1];
    const std::int64_t height =
        batch.target_shape.rank() > 2 ? batch.target_shape[batch.target_shape.rank() - 2] : 1;
    for (std::int64_t i = 0; i < batch.rows * per_sample; ++i) {
      const double error = static_cast<double>(batch.prediction[static_cast<std::size_t>(i)]) - target[i];
      const double weight = by_area_ ? area(i / width % height, height) : 1;
      squares_ += weight * error * error;
      weights_ += weight;
    }
  }
  [[nodiscard]] std::vector<double> sums() const override {
    return {squares_, weights_, losses_.sum(), losses_.count()};
  }
  [[nodiscard]] std::vector<std::pair<std::string, double>> finish(
      std::span<const double> sums) const override {
    return {{"rmse", unit_ * std::sqrt(sums[0] / sums[1])}, {"loss", sums[2] / sums[3]}};
  }
  [[nodiscard]] bool larger_is_better() const noexcept override { return false; }

 private:
  /// Cosine of the latitude of the middle of a row, of `rows` equal ones from pole to pole.
  static double area(std::int64_t row, std::int64_t rows) {
    return std::sin((static_cast<double>(row) + 0.5) / static_cast<double>(rows) * std::numbers::pi);
  }

  double unit_;
  bool by_area_;
  LossSums losses_;
  double squares_ = 0, weights_ = 0;
};

}  // namespace

const Registry<Metric>::Row kRmse{
    "rmse", "root mean square error of fields", kSettings,
    [](const Options& options) -> std::unique_ptr<Metric> { return std::make_unique<Rmse>(options); }};

}  // namespace lockstep::trainer
