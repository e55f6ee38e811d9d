// Mean intersection over union of per-pixel classes: IoU_c = |predicted c and labelled c| / |predicted c or
// labelled c| over the whole split, averaged over the classes that occur (as in the climate segmentation of
// Kurth et al., SC 2018).
#include <cstddef>

#include "trainer/metric/rows.h"

namespace lockstep::trainer {

namespace {

class Iou final : public Metric {
 public:
  [[nodiscard]] std::string_view lacks(const Judged& samples) const noexcept override {
    return samples.classes > 0 && !samples.tokens ? "" : "a label a pixel";
  }
  void add(const Evaluated& batch) override {
    losses_.add(batch);
    const std::int64_t classes = batch.prediction_shape[1];
    const std::int64_t pixels = batch.prediction_shape.count() / batch.prediction_shape[0] / classes;
    both_.resize(static_cast<std::size_t>(classes));
    either_.resize(static_cast<std::size_t>(classes));
    const auto* labels = static_cast<const std::int32_t*>(batch.target);
    for (std::int64_t row = 0; row < batch.rows; ++row) {
      for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
        const std::int32_t label = labels[row * pixels + pixel];
        if (label != batch.ignore_index)
          count(static_cast<std::size_t>(label), argmax(batch, row * classes * pixels + pixel, pixels));
      }
    }
  }
  [[nodiscard]] std::vector<double> sums() const override {
    std::vector<double> all{losses_.sum(), losses_.count(), right_, pixels_};
    all.insert(all.end(), both_.begin(), both_.end());
    all.insert(all.end(), either_.begin(), either_.end());
    return all;
  }
  [[nodiscard]] std::vector<std::pair<std::string, double>> finish(
      std::span<const double> sums) const override {
    const std::size_t classes = (sums.size() - 4) / 2;
    double total = 0;
    double present = 0;
    for (std::size_t c = 0; c < classes; ++c) {
      const double either = sums[4 + classes + c];
      if (either == 0) continue;
      total += sums[4 + c] / either;
      present += 1;
    }
    return {{"iou", present > 0 ? total / present : 0},
            {"pixel_accuracy", sums[2] / sums[3]},
            {"loss", sums[0] / sums[1]}};
  }
  [[nodiscard]] bool larger_is_better() const noexcept override { return true; }

 private:
  [[nodiscard]] std::size_t argmax(const Evaluated& batch, std::int64_t first, std::int64_t stride) const {
    std::size_t best = 0;
    for (std::size_t c = 1; c < both_.size(); ++c) {
      const auto at = [&](std::size_t k) {
        return batch.prediction[static_cast<std::size_t>(first + static_cast<std::int64_t>(k) * stride)];
      };
      if (at(c) > at(best)) best = c;
    }
    return best;
  }
  void count(std::size_t label, std::size_t predicted) {
    pixels_ += 1;
    either_[label] += 1;
    if (label == predicted) {
      both_[label] += 1;
      right_ += 1;
    } else {
      either_[predicted] += 1;
    }
  }

  LossSums losses_;
  std::vector<double> both_, either_;
  double right_ = 0, pixels_ = 0;
};

}  // namespace

const Registry<Metric>::Row kIou{
    "iou",
    "mean intersection over union of a label per pixel",
    {},
    [](const Options&) -> std::unique_ptr<Metric> { return std::make_unique<Iou>(); }};

}  // namespace lockstep::trainer
