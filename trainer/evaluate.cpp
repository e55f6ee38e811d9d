#include "trainer/evaluate.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>

namespace lockstep::trainer {

namespace {

/// Runs the microbatches of this rank's shard through the metric.
class Pass {
 public:
  Pass(Replica& replica, FlatSpan values, data::Loader& loader, Metric& metric,
       const EvaluationOptions& options, Stream& compute)
      : replica_(replica),
        loader_(loader),
        metric_(metric),
        show_(options.show),
        compute_(compute),
        pass_(replica.pass(models::Mode::evaluate, values)) {
    const models::Graph& graph = replica_.graph();
    batch_.prediction_shape = graph.values()[static_cast<std::size_t>(graph.prediction())].shape;
    batch_.target_shape = graph.values()[static_cast<std::size_t>(graph.target())].shape;
    batch_.labels = loader_.spec().target_dtype == Dtype::i32;
    losses_.resize(
        static_cast<std::size_t>(graph.values()[static_cast<std::size_t>(graph.loss())].shape.count()));
    batch_.ignore_index = options.ignore_index;
    if (metric_.wants_prediction() || show_)
      prediction_.resize(static_cast<std::size_t>(batch_.prediction_shape.count()));
  }

  void run(std::int64_t microbatches) {
    for (std::int64_t j = 0; j < microbatches; ++j) {
      const data::Microbatch& fed = loader_.next();
      pass_.rows = fed.rows;
      models::Executor& executor = replica_.executor();
      executor.feed(fed.input, fed.target, compute_);
      executor.forward(pass_, compute_);
      executor.read_losses(losses_.data(), compute_);
      if (!prediction_.empty()) executor.read_prediction(prediction_.data(), compute_);
      compute_.synchronize();
      batch_.losses = losses_;
      batch_.prediction = prediction_;
      batch_.target = fed.target;
      batch_.rows = fed.rows;
      metric_.add(batch_);
      if (show_) show_(batch_);
    }
  }

 private:
  Replica& replica_;
  data::Loader& loader_;
  Metric& metric_;
  const std::function<void(const Evaluated&)>& show_;
  Stream& compute_;
  models::Pass pass_;
  Evaluated batch_;
  std::vector<float> losses_, prediction_;
};

/// A fixed order, one pass; arrays where `device` copies them from best.
std::unique_ptr<data::Loader> open_loader(const data::Dataset& dataset, const Options& settings,
                                          const EvaluationOptions& options, const data::Shard& shard,
                                          Device device) {
  return data::make_loader(
      dataset, settings,
      {.seed = options.seed,
       .microbatch = options.microbatch,
       .shard = shard,
       .train = false,
       .allocate = [device](std::size_t bytes) { return allocate_staging(device, bytes); }});
}

}  // namespace

Judged judged_samples(const data::LoaderSpec& spec) {
  return {spec.classes, spec.target, spec.input_dtype == Dtype::i32};
}

std::int64_t evaluated_samples(std::int64_t samples, const EvaluationOptions& options) {
  const bool fewer = options.microbatches > 0 && options.microbatches <= samples / options.microbatch;
  return fewer ? options.microbatches * options.microbatch : samples;
}

data::Shard evaluation_share(std::int64_t samples, std::int64_t microbatch, int rank, int ranks) {
  const std::int64_t microbatches = (samples + microbatch - 1) / microbatch;
  return data::shard_of(rank, ranks, std::max<std::int64_t>(microbatches, ranks));
}

Evaluation evaluate(Replica& replica, FlatSpan values, const data::Dataset& dataset,
                    const Options& data_settings, const EvaluationOptions& options, comm::Control& control,
                    Stream& compute) {
  const auto start = std::chrono::steady_clock::now();
  const std::int64_t samples =
      evaluated_samples(data::describe_samples(dataset, data_settings, false).samples, options);
  const data::Shard shard = evaluation_share(samples, options.microbatch, control.rank(), control.size());
  const auto loader = open_loader(dataset, data_settings, options, shard, replica.device());
  const data::LoaderSpec& spec = loader->spec();
  const std::unique_ptr<Metric> metric =
      make_metric(options.metric, options.metric_settings, judged_samples(spec));
  replica.refresh_working(values, compute);
  Pass(replica, values, *loader, *metric, options, compute).run(shard.count);
  std::vector<double> sums = metric->sums();
  // A rank without a microbatch may not know how many sums there are (a class it never saw).
  sums.resize(static_cast<std::size_t>(control.maximum(static_cast<double>(sums.size()))));
  control.sum(sums);
  Evaluation evaluation{metric->finish(sums), metric->larger_is_better(), 0};
  evaluation.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return evaluation;
}

std::string text(const Evaluation& evaluation) {
  std::string line;
  for (const auto& [name, value] : evaluation.values) {
    char number[64];
    const bool share = name == "accuracy" || name == "top5" || name == "pixel_accuracy" || name == "iou";
    const bool whole = name == "correct" || name == "samples" || name == "tokens" || name == "elements";
    std::snprintf(number, sizeof number,
                  share   ? "%.2f %%"
                  : whole ? "%.0f"
                          : "%.4f",
                  share ? 100 * value : value);
    line += (line.empty() ? "" : ", ") + name + " " + number;
  }
  return line;
}

}  // namespace lockstep::trainer
