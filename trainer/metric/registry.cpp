// The table of metrics, and what "auto" stands for.
#include "trainer/metric/rows.h"

namespace lockstep::trainer {

void LossSums::add(const Evaluated& batch) {
  const auto per_sample = batch.losses.size() / static_cast<std::size_t>(batch.prediction_shape[0]);
  const auto rows = per_sample * static_cast<std::size_t>(batch.rows);
  // One label per loss row: rows labelled `ignore_index` carry no loss and do not count.
  const bool labelled =
      batch.labels && batch.target_shape.count() == static_cast<std::int64_t>(batch.losses.size());
  const auto* labels = labelled ? static_cast<const std::int32_t*>(batch.target) : nullptr;
  for (std::size_t row = 0; row < rows; ++row) {
    if (labels != nullptr && labels[row] == batch.ignore_index) continue;
    sum_ += static_cast<double>(batch.losses[row]);
    count_ += 1;
  }
}

const Registry<Metric>& metrics() {
  static const Registry<Metric>::Row kAuto{"auto", "chosen by what the data set offers", {}, nullptr};
  static const Registry<Metric>::Row kRows[] = {kAuto, kAccuracy, kPerplexity, kRmse, kIou};
  static const Registry<Metric> kTable("metric", kRows);
  return kTable;
}

std::string automatic_metric(const Judged& samples) {
  if (samples.classes == 0) return "rmse";
  if (samples.tokens) return "perplexity";
  return samples.target.rank() == 0 ? "accuracy" : "iou";
}

std::unique_ptr<Metric> make_metric(const std::string& name, const Options& settings, const Judged& samples) {
  const bool automatic = name == "auto";
  const std::string chosen = automatic ? automatic_metric(samples) : name;
  // Settings given for a metric that was not chosen by name have no effect.
  auto metric = metrics().create(chosen, automatic ? Options::of(metrics().row(chosen).settings) : settings);
  const std::string needed(metric->lacks(samples));
  if (needed.empty()) return metric;
  throw Error(Fault::config,
              "metric '" + name + "' needs " + needed + ", the data set has " +
                  (samples.classes == 0 ? "fields as targets"
                                        : "targets " + samples.target.text() + " of " +
                                              std::to_string(samples.classes) + " classes"),
              "set metric.name to " + automatic_metric(samples));
}

}  // namespace lockstep::trainer
