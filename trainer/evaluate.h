// Evaluation sharded over ranks and exact for any number of samples: each rank evaluates its share of the
// microbatches, sums are added over ranks, and the padded rows of the last microbatch count nowhere.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/collectives.h"
#include "core/stream.h"
#include "data/loader.h"
#include "trainer/metric/metric.h"
#include "trainer/replica.h"

namespace lockstep::trainer {

struct Evaluation {
  std::vector<std::pair<std::string, double>> values;  ///< the first one decides what "best" is
  bool larger_is_better = true;
  double seconds = 0;
};

struct EvaluationOptions {
  std::string metric = "auto";
  Options metric_settings;
  std::uint64_t seed = 0;
  std::int64_t microbatch = 1;
  std::int64_t microbatches = 0;  ///< how many at most; 0: the whole split
  std::int64_t ignore_index = -100;
  /// Shown every microbatch of this rank beside the metric; empty: nobody looks.
  std::function<void(const Evaluated&)> show = {};
};

/// What a metric must know of the samples.
[[nodiscard]] Judged judged_samples(const data::LoaderSpec& spec);
/// How many of the split's samples `options` evaluate.
[[nodiscard]] std::int64_t evaluated_samples(std::int64_t samples, const EvaluationOptions& options);
/// The microbatches of them that a rank takes; one that finds none left takes an empty one.
[[nodiscard]] data::Shard evaluation_share(std::int64_t samples, std::int64_t microbatch, int rank,
                                           int ranks);

/// Collective. Evaluates `values` (master values laid out as the replica's) with the replica's executor; the
/// replica must be between steps.
[[nodiscard]] Evaluation evaluate(Replica& replica, FlatSpan values, const data::Dataset& dataset,
                                  const Options& data_settings, const EvaluationOptions& options,
                                  comm::Control& control, Stream& compute);

/// "accuracy 92.61 %, top5 99.8 %, loss 0.214".
[[nodiscard]] std::string text(const Evaluation& evaluation);

}  // namespace lockstep::trainer
