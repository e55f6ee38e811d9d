// What evaluation measures, exactly, over a split sharded over ranks: sums and counts per microbatch, added
// over ranks at the end, then one number. Every metric sees only the rows that count, so a padded last
// microbatch changes nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/options.h"
#include "core/registry.h"
#include "core/shape.h"

namespace lockstep::trainer {

/// One evaluated microbatch on the host, dense. Only the first `rows` samples count.
struct Evaluated {
  std::span<const float> prediction;  ///< [microbatch, ...]; empty when no metric wants it
  std::span<const float> losses;      ///< per loss row (sample, token or pixel), rows of padded samples 0
  const void* target = nullptr;       ///< i32 classes or f32 fields, [microbatch, ...]
  Shape prediction_shape;
  Shape target_shape;
  std::int64_t rows = 0;
  bool labels = true;                ///< target holds i32 classes
  std::int64_t ignore_index = -100;  ///< label of rows that do not count
};

/// The samples that a metric is to judge.
struct Judged {
  std::int64_t classes = 0;  ///< 0: targets are fields
  Shape target;              ///< of one sample
  bool tokens = false;       ///< a class for each token of a window
};

class Metric {
 public:
  virtual ~Metric() = default;
  /// What it needs and these samples are not, such as "one label a sample"; empty: it can judge them.
  [[nodiscard]] virtual std::string_view lacks(const Judged& samples) const noexcept = 0;
  /// Adds one microbatch.
  virtual void add(const Evaluated& batch) = 0;
  /// The running sums, to be added over ranks element by element; finish() reads what came back.
  [[nodiscard]] virtual std::vector<double> sums() const = 0;
  /// Named results from the sums over all ranks; the first one is what "best" looks at.
  [[nodiscard]] virtual std::vector<std::pair<std::string, double>> finish(
      std::span<const double> sums) const = 0;
  /// Whether the first result is better when larger.
  [[nodiscard]] virtual bool larger_is_better() const noexcept = 0;
  /// False when losses suffice: then predictions are not copied to the host.
  [[nodiscard]] virtual bool wants_prediction() const noexcept { return true; }
};

/// accuracy, perplexity, rmse, iou; "auto" picks by what the data set offers: accuracy for one label per
/// sample, perplexity for tokens, iou for a label per pixel, rmse for fields.
[[nodiscard]] const Registry<Metric>& metrics();

/// The name that "auto" stands for.
[[nodiscard]] std::string automatic_metric(const Judged& samples);

/// The metric called `name` with its settings, or what "auto" stands for with its defaults. Throws
/// Fault::config when it cannot judge such samples: it would read them as something else.
[[nodiscard]] std::unique_ptr<Metric> make_metric(const std::string& name, const Options& settings,
                                                  const Judged& samples);

}  // namespace lockstep::trainer
