// Top-1 and top-5 accuracy: the share of samples whose label has the largest, or one of the five largest,
// scores. A tie counts for the class with the lower index, as argmax does.
#include <cstddef>

#include "trainer/metric/rows.h"

namespace lockstep::trainer {

namespace {

class Accuracy final : public Metric {
 public:
  [[nodiscard]] std::string_view lacks(const Judged& samples) const noexcept override {
    return samples.classes > 0 && !samples.tokens && samples.target.rank() == 0 ? "" : "one label a sample";
  }
  void add(const Evaluated& batch) override {
    losses_.add(batch);
    const std::int64_t classes = batch.prediction_shape[1];
    const auto* labels = static_cast<const std::int32_t*>(batch.target);
    for (std::int64_t row = 0; row < batch.rows; ++row) {
      if (labels[row] == batch.ignore_index) continue;
      const auto scores = batch.prediction.subspan(static_cast<std::size_t>(row * classes),
                                                   static_cast<std::size_t>(classes));
      const int above = ahead(scores, labels[row]);
      top1_ += above == 0 ? 1 : 0;
      top5_ += above < 5 ? 1 : 0;
      samples_ += 1;
    }
  }
  [[nodiscard]] std::vector<double> sums() const override {
    return {top1_, top5_, samples_, losses_.sum(), losses_.count()};
  }
  [[nodiscard]] std::vector<std::pair<std::string, double>> finish(
      std::span<const double> sums) const override {
    return {{"accuracy", sums[0] / sums[2]},
            {"top5", sums[1] / sums[2]},
            {"correct", sums[0]},
            {"samples", sums[2]},
            {"loss", sums[3] / sums[4]}};
  }
  [[nodiscard]] bool larger_is_better() const noexcept override { return true; }

 private:
  /// How many classes come before `label` in order of score.
  static int ahead(std::span<const float> scores, std::int32_t label) {
    const float own = scores[static_cast<std::size_t>(label)];
    int count = 0;
    for (std::size_t k = 0; k < scores.size(); ++k) {
      const bool before = scores[k] > own || (scores[k] == own && static_cast<std::int32_t>(k) < label);
      // A NaN score of the label loses against everything.
      if (before || own != own) ++count;
    }
    return count;
  }

  LossSums losses_;
  double top1_ = 0, top5_ = 0, samples_ = 0;
};

}  // namespace

const Registry<Metric>::Row kAccuracy{
    "accuracy",
    "top-1 and top-5 accuracy of one label per sample",
    {},
    [](const Options&) -> std::unique_ptr<Metric> { return std::make_unique<Accuracy>(); }};

}  // namespace lockstep::trainer
