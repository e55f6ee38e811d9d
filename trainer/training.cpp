#include "trainer/training.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <vector>

#include "core/hash.h"
#include "trainer/checkpoint.h"
#include "trainer/diagnose.h"
#include "trainer/parts.h"
#include "trainer/rate_schedule.h"
#include "trainer/signals.h"
#include "trainer/weights.h"

namespace lockstep::trainer {

namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// How many steps may be on their way: one runs while the host prepares the next.
constexpr int kInFlight = 2;

std::unique_ptr<comm::Collectives> connect(const Config& config, comm::World& world) {
  return comm::make_collectives(
      world.transport(config.section("run").real("deadline_s")),
      comm::schedules().create(config.part_name("allreduce"), config.part("allreduce")));
}

class Training {
 public:
  Training(const Config& config, comm::World& world, RunLog& log, const TrainingOptions& options)
      : config_(config),
        world_(world),
        log_(log),
        options_(options),
        train_set_(open_dataset(config)),
        plan_(plan_of(config, *train_set_, world.rank(), world.size())),
        loader_(open_training_loader(config, *train_set_, plan_)),
        collectives_(connect(config, world)),
        control_(collectives_->duplicate()),
        batch_norm_sum_(collectives_->duplicate()),
        replica_(loader_->spec(), options_with_sum()),
        compute_(compute_stream(config, replica_.device())),
        rate_(config.section("rate"),
              rate_shapes().create(config.part_name("rate_shape"), config.part("rate_shape")), plan_.global,
              plan_.steps) {
    load_initial_weights();
    optimizer_ = optimizers().create(config.part_name("optimizer"), config.part("optimizer"),
                                     replica_.store().layout(), replica_.device());
    engine_ = std::make_unique<StepEngine>(replica_, *optimizer_, *collectives_, step_options(config, plan_),
                                           *compute_);
  }

  Outcome run();

 private:
  ReplicaOptions options_with_sum() {
    ReplicaOptions options = replica_options(config_, plan_.microbatch, true);
    options.backend_options.ranks = world_.size();
    options.backend_options.sum = [this](FlatSpan data, Stream& stream) {
      batch_norm_sum_->sum(data, stream);
    };
    return options;
  }
  void load_initial_weights();
  void resume();
  void check_replicas_agree();
  void advance(std::int64_t boundary);
  void finish_step();
  void handle_nonfinite(const StepResult& result);
  void evaluate_now();
  void save_now();
  [[nodiscard]] std::int64_t next_boundary() const;
  [[nodiscard]] RunFacts facts() const;
  [[nodiscard]] Outcome close(const std::string& status);

  const Config& config_;
  comm::World& world_;
  RunLog& log_;
  TrainingOptions options_;
  std::unique_ptr<data::Dataset> train_set_, eval_set_;
  BatchPlan plan_;
  std::unique_ptr<data::Loader> loader_;
  std::unique_ptr<comm::Collectives> collectives_;
  comm::Control control_;
  std::unique_ptr<comm::Collectives> batch_norm_sum_;
  Replica replica_;
  std::unique_ptr<Stream> compute_;
  RateSchedule rate_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<StepEngine> engine_;
  std::string stop_reason_;
  Evaluation evaluation_;

  std::int64_t next_ = 0;   ///< step to enqueue
  std::int64_t done_ = 0;   ///< updates done
  std::int64_t first_ = 0;  ///< where this process began
  std::int64_t skips_ = 0;
  std::int64_t saved_ = -1;
  bool stop_ = false;
  float last_loss_ = 0;
  std::string newest_;
  std::optional<double> best_;
  std::optional<std::int64_t> best_step_;
  Clock::time_point last_finish_;
  double data_waited_ = 0;
};

void Training::load_initial_weights() {
  const std::string file = config_.section("init").text("weights");
  if (!file.empty()) load_weights(file, replica_.model(), replica_.store());
}

void Training::resume() {
  if (!options_.resume) return;
  std::vector<std::string> notes;
  const std::optional<Checkpoint> found = load_latest_checkpoint(options_.run_directory, control_, notes);
  for (const std::string& note : notes) log_.note(note);
  if (!found) {
    log_.note("no checkpoint to resume from: starting at step 0");
    return;
  }
  const std::string expected = hash_text(config_.fingerprint());
  if (found->fingerprint != expected) {
    log_.note(
        "the configuration differs from the one that wrote the checkpoint: the run goes on under the new "
        "one");
  }
  const StateReader shared(found->shared);
  engine_->load(shared);
  const StateReader progress = shared.scope("progress");
  skips_ = progress.integer("skips");
  if (progress.has("best")) {
    best_ = progress.real("best");
    best_step_ = progress.integer("best_step");
  }
  first_ = next_ = done_ = saved_ = found->step;
}

/// Replicas that differ before the first step would train different models: compare hashes.
void Training::check_replicas_agree() {
  const auto hash = static_cast<std::int64_t>(replica_.store().parameter_hash());
  const std::vector<std::int64_t> hashes = control_.gather(hash);
  for (std::size_t rank = 0; rank < hashes.size(); ++rank) {
    if (hashes[rank] == hashes[0]) continue;
    throw Error(Fault::communication,
                "rank " + std::to_string(rank) + " holds other parameters (" +
                    hash_text(static_cast<std::uint64_t>(hashes[rank])) + ") than rank 0 (" +
                    hash_text(static_cast<std::uint64_t>(hashes[0])) + ") at step " + std::to_string(done_),
                "all ranks must run the same program on the same kind of processor and read the same files");
  }
}

std::int64_t Training::next_boundary() const {
  std::int64_t boundary = plan_.steps;
  for (const char* section : {"eval", "checkpoint"}) {
    const std::int64_t every = config_.section(section).integer("every_steps");
    if (every > 0) boundary = std::min(boundary, (done_ / every + 1) * every);
  }
  return boundary;
}

Outcome Training::run() {
  resume();
  check_replicas_agree();
  loader_->seek(next_);
  log_.start(facts());
  last_finish_ = Clock::now();
  while (done_ < plan_.steps && !stop_) {
    const std::int64_t boundary = next_boundary();
    advance(boundary);
    if (stop_ || done_ < boundary) continue;
    check_replicas_agree();
    const std::int64_t eval_every = config_.section("eval").integer("every_steps");
    if (eval_every > 0 && done_ % eval_every == 0 && done_ < plan_.steps) evaluate_now();
    const std::int64_t save_every = config_.section("checkpoint").integer("every_steps");
    if (save_every > 0 && done_ % save_every == 0) save_now();
    last_finish_ = Clock::now();
  }
  if (stop_ && done_ < plan_.steps) {
    save_now();
    return close("stopped");
  }
  evaluate_now();
  save_now();
  return close("done");
}

/// Runs steps up to `boundary`, or until some rank was asked to stop.
void Training::advance(std::int64_t boundary) {
  while (done_ < boundary) {
    while (next_ < boundary && !stop_ && engine_->in_flight() < kInFlight) {
      if (options_.asked_to_stop && stop_reason_.empty()) stop_reason_ = options_.asked_to_stop();
      engine_->enqueue(next_, rate_.at(next_), *loader_, !stop_reason_.empty());
      ++next_;
    }
    if (engine_->in_flight() == 0) return;
    finish_step();
  }
}

void Training::finish_step() {
  const StepResult result = engine_->collect();
  if (result.stop && !stop_) {
    stop_ = true;
    log_.note("asked to stop" + (stop_reason_.empty() ? "" : " by " + stop_reason_) +
              ": finishing the step and saving");
  }
  if (result.skipped) {
    handle_nonfinite(result);
    return;
  }
  done_ = result.step + 1;
  last_loss_ = result.loss;
  const double waited = loader_->waited_s();
  log_.step({result, seconds_since(last_finish_), waited - data_waited_});
  data_waited_ = waited;
  last_finish_ = Clock::now();
}

/// The parameters stand as they were before the bad step, because every step after it was skipped too.
void Training::handle_nonfinite(const StepResult& result) {
  while (engine_->in_flight() > 0) static_cast<void>(engine_->collect());
  const std::string culprit = diagnose_nonfinite(replica_, *loader_, plan_, result.step, control_, *compute_);
  const bool stop = config_.section("train").text("on_nonfinite") == "stop";
  ++skips_;
  if (stop || skips_ > config_.section("train").integer("max_skips")) {
    throw Error(
        Fault::diverged, "step " + std::to_string(result.step) + " is not finite: " + culprit,
        stop ? "lower the learning rate, clip gradients (train.clip_norm), or set train.on_nonfinite=skip"
             : "more than train.max_skips steps were skipped: lower the learning rate or clip gradients");
  }
  log_.note("skipped step " + std::to_string(result.step) + ": " + culprit);
  engine_->acknowledge();
  done_ = next_ = result.step + 1;
  loader_->seek(next_);
  last_finish_ = Clock::now();
}

void Training::evaluate_now() {
  if (!eval_set_) eval_set_ = open_dataset(config_, config_.section("eval").text("split"));
  evaluation_ = evaluate(replica_, engine_->evaluation_values(), *eval_set_, config_.section("data"),
                         evaluation_options(config_, plan_.microbatch), control_, *compute_);
  const double value = evaluation_.values.front().second;
  const bool best = !best_ || (evaluation_.larger_is_better ? value > *best_ : value < *best_);
  if (best) {
    best_ = value;
    best_step_ = done_;
  }
  log_.evaluation(done_, evaluation_, best);
  replica_.refresh_working(replica_.store().values(), *compute_);
  if (best && config_.section("checkpoint").boolean("best")) save_now();
}

void Training::save_now() {
  if (saved_ == done_) return;
  const auto start = Clock::now();
  compute_->synchronize();
  Checkpoint checkpoint;
  checkpoint.step = done_;
  checkpoint.fingerprint = hash_text(config_.fingerprint());
  StateWriter shared(checkpoint.shared);
  engine_->save(shared);
  StateWriter progress = shared.scope("progress");
  progress.integer("skips", skips_);
  if (best_) {
    progress.real("best", *best_);
    progress.integer("best_step", *best_step_);
  }
  KeepRule keep{config_.section("checkpoint").integer("keep"), std::nullopt};
  if (config_.section("checkpoint").boolean("best")) keep.best = best_step_;
  newest_ = save_checkpoint(options_.run_directory, checkpoint, keep, control_);
  saved_ = done_;
  log_.checkpoint(done_, newest_, seconds_since(start));
}

RunFacts Training::facts() const {
  const data::LoaderSpec& spec = loader_->spec();
  const bool tokens = spec.input_dtype == Dtype::i32;
  RunFacts facts;
  facts.model = config_.part_name("model");
  facts.data = config_.section("data").texts("files").front();
  facts.device = backend_for(config_);
  facts.schedule = config_.part_name("allreduce");
  facts.world = world_.description();
  facts.ranks = world_.size();
  facts.parameters = replica_.store().layout().canonical_count();
  facts.global_batch = plan_.global;
  facts.microbatch = plan_.microbatch;
  facts.microbatches_per_step = plan_.shard.per_step;
  facts.steps = plan_.steps;
  facts.first_step = first_;
  facts.steps_per_epoch = plan_.steps_per_epoch;
  facts.buckets = static_cast<std::int64_t>(engine_->buckets().size());
  facts.unit = tokens ? "tokens" : "samples";
  facts.units_per_sample = tokens ? static_cast<double>(spec.input.count()) : 1.0;
  return facts;
}

Outcome Training::close(const std::string& status) {
  Outcome outcome;
  outcome.exit_code = status == "done" ? 0 : kStoppedExitCode;
  outcome.end = {status, done_, replica_.store().parameter_hash(), replica_.store().state_hash(), newest_};
  outcome.last_loss = last_loss_;
  outcome.evaluation = evaluation_;
  log_.finish(outcome.end);
  control_.barrier();
  return outcome;
}

}  // namespace

Outcome train(const Config& config, comm::World& world, RunLog& log, const TrainingOptions& options) {
  check_reproducible(config);
  return Training(config, world, log, options).run();
}

}  // namespace lockstep::trainer
