#include "trainer/training.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "core/hash.h"
#include "trainer/checkpoint.h"
#include "trainer/compression.h"
#include "trainer/diagnose.h"
#include "trainer/parts.h"
#include "trainer/placement.h"
#include "trainer/progress.h"
#include "trainer/rate_schedule.h"
#include "trainer/resume.h"
#include "trainer/run_facts.h"
#include "trainer/signals.h"
#include "trainer/trace_window.h"
#include "trainer/tune.h"
#include "trainer/weights.h"

namespace lockstep::trainer {

namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// How many steps may be on their way: one runs while the host prepares the next.
constexpr int kInFlight = 2;

class Training final : public PreparedRun {
 public:
  Training(const Config& config, comm::World& world)
      : config_(config),
        world_(world),
        train_set_(open_dataset(config)),
        eval_set_(open_evaluation_set(config, *train_set_)),
        plan_(plan_of(config, *train_set_, world.rank(), world.size())),
        device_(device_of(config, world)),
        loader_(open_training_loader(config, *train_set_, plan_, device_)),
        schedule_(make_schedule(config, on_one_node(world))),
        collectives_(connect(config, world, device_, schedule_)),
        control_(device_ == Device{} ? collectives_->duplicate() : host_collectives(config, world)),
        batch_norm_sum_(collectives_->duplicate()),
        replica_(loader_->spec(), options_with_sum()),
        compute_(compute_stream(config, replica_.device())),
        rate_(config.section("rate"),
              rate_shapes().create(config.part_name("rate_shape"), config.part("rate_shape")), plan_.global,
              plan_.steps),
        trace_(config.section("run"), plan_.steps) {
    load_initial_weights();
    optimizer_ = optimizers().create(config.part_name("optimizer"), config.part("optimizer"),
                                     replica_.store().layout(), replica_.device());
  }

  [[nodiscard]] std::int64_t steps() const noexcept override { return plan_.steps; }
  Outcome run(RunLog& log, const TrainingOptions& options) override;

 private:
  ReplicaOptions options_with_sum() {
    ReplicaOptions options = replica_options(config_, device_, plan_.microbatch, true);
    options.backend_options.ranks = world_.size();
    options.backend_options.sum = [this](FlatSpan data, Stream& stream) {
      batch_norm_sum_->sum(data, stream);
    };
    options.gradient_memory = [this](std::size_t bytes) { return collectives_->shared_memory(bytes); };
    return options;
  }
  void tell(const std::string& note) {
    if (!note.empty()) log_->note(note);
  }
  void load_initial_weights();
  void resume();
  void make_engine(const StateReader& saved);
  void introduce();
  void advance(std::int64_t boundary);
  void finish_step();
  void handle_nonfinite(const StepResult& result);
  void evaluate_now();
  void save_now();
  [[nodiscard]] std::int64_t next_boundary() const;
  [[nodiscard]] Outcome close(const std::string& status);

  const Config& config_;
  comm::World& world_;
  RunLog* log_ = nullptr;
  TrainingOptions options_;
  std::unique_ptr<data::Dataset> train_set_, eval_set_;
  BatchPlan plan_;
  Device device_;
  std::unique_ptr<data::Loader> loader_;
  std::shared_ptr<comm::Schedule> schedule_;
  std::unique_ptr<comm::Collectives> collectives_;
  comm::Control control_;
  std::unique_ptr<comm::Collectives> batch_norm_sum_;
  Replica replica_;
  std::unique_ptr<Stream> compute_;
  RateSchedule rate_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<StepEngine> engine_;
  comm::Verdict choice_;         ///< the compressor in use
  std::string schedule_choice_;  ///< of `allreduce.name: auto`
  std::string stop_reason_;
  Evaluation evaluation_;

  TraceWindow trace_;
  Progress at_;
  bool stop_ = false;
  float last_loss_ = 0;
  Clock::time_point last_finish_;
  double data_waited_ = 0;
};

void Training::load_initial_weights() {
  const std::string file = config_.section("init").text("weights");
  if (!file.empty()) load_weights(file, replica_.model(), replica_.store());
}

/// What was chosen by measurement stays chosen in a resumed run.
void Training::make_engine(const StateReader& saved) {
  StepOptions options = step_options(config_, plan_);
  options.exchange.device = device_;
  const bool records = options.record != StepOptions::Record::never && collectives_->capturable();
  schedule_choice_ = tune_exchange({config_, world_, control_, *log_, options_.run_directory, options_.resume,
                                    replica_, *loader_, *compute_, records},
                                   saved, *schedule_, options.exchange);
  if (!schedule_choice_.empty() && device_ != Device{})
    reconnect(config_, world_, schedule_, replica_.store(), {collectives_, batch_norm_sum_});
  choice_ = choose_compressor(saved, options.exchange, replica_.store().layout(), *collectives_, control_);
  tell(choice_.why);
  adopt(choice_.compressor, saved, options.exchange.compression);
  engine_ = std::make_unique<StepEngine>(replica_, *optimizer_, *collectives_, options, *compute_);
  for (const std::string& note : compression_notes(config_, engine_->exchange(), replica_.store().layout()))
    log_->note(note);
  if (options.shard) log_->note(sharding_text(*optimizer_, replica_.store().layout(), world_.size()));
}

void Training::resume() {
  std::optional<Checkpoint> found;
  if (options_.resume) found = find_checkpoint(config_, options_.run_directory, control_, *log_);
  const StateMap nothing;
  const StateReader shared(found ? found->shared : nothing);
  make_engine(shared);
  if (!found) return;
  engine_->load(shared);
  tell(load_residuals(*found, engine_->exchange(), control_));
  at_.load(shared.scope("progress"), found->step);
}

std::int64_t Training::next_boundary() const {
  std::int64_t boundary = plan_.steps;
  for (const char* section : {"eval", "checkpoint"}) {
    const std::int64_t every = config_.section(section).integer("every_steps");
    if (every > 0) boundary = std::min(boundary, at_.next_multiple(every));
  }
  return boundary;
}

/// Tells the log what the run is.
void Training::introduce() {
  RunFacts facts = facts_of(config_, world_, plan_, loader_->spec());
  facts.parameters = replica_.store().layout().canonical_count();
  facts.first_step = at_.first;
  facts.buckets = static_cast<std::int64_t>(engine_->buckets().size());
  facts.compressor = compression_text(config_, choice_.compressor);
  log_->start(facts);
  if (!engine_->why_not_recorded().empty())
    log_->note("steps are enqueued one by one, not as a CUDA graph: " + engine_->why_not_recorded());
}

Outcome Training::run(RunLog& log, const TrainingOptions& options) {
  log_ = &log;
  options_ = options;
  resume();
  check_replicas_agree(replica_.store(), at_.done, control_);
  loader_->seek(at_.next);
  introduce();
  last_finish_ = Clock::now();
  while (at_.done < plan_.steps && !stop_) {
    const std::int64_t boundary = next_boundary();
    advance(boundary);
    if (stop_ || at_.done < boundary) continue;
    check_replicas_agree(replica_.store(), at_.done, control_);
    if (at_.done < plan_.steps && at_.due(config_.section("eval").integer("every_steps"))) evaluate_now();
    if (at_.due(config_.section("checkpoint").integer("every_steps"))) save_now();
    last_finish_ = Clock::now();
  }
  const bool stopped = stop_ && at_.done < plan_.steps;
  if (!stopped) evaluate_now();
  save_now();
  return close(stopped ? "stopped" : "done");
}

/// Runs steps up to `boundary`, or until some rank was asked to stop.
void Training::advance(std::int64_t boundary) {
  while (at_.done < boundary) {
    while (at_.next < boundary && !stop_ && engine_->in_flight() < kInFlight) {
      if (options_.asked_to_stop && stop_reason_.empty()) stop_reason_ = options_.asked_to_stop();
      trace_.before(at_.next, *engine_, *compute_, control_);
      engine_->enqueue(at_.next, rate_.at(at_.next), *loader_, !stop_reason_.empty());
      ++at_.next;
    }
    if (engine_->in_flight() == 0) return;
    finish_step();
  }
}

void Training::finish_step() {
  const StepResult result = engine_->collect();
  if (result.stop && !stop_) {
    stop_ = true;
    log_->note(stop_text(stop_reason_, control_));
  }
  if (result.skipped) return handle_nonfinite(result);
  if (result.overflowed) log_->note(overflow_text(result));
  at_.done = result.step + 1;
  tell(trace_.after(at_.done, *engine_, options_.run_directory, world_.rank()));
  last_loss_ = result.loss;
  const double waited = loader_->waited_s();
  log_->step({result, seconds_since(last_finish_), waited - data_waited_});
  data_waited_ = waited;
  last_finish_ = Clock::now();
}

/// The parameters stand as they were before the bad step, because every step after it was skipped too.
void Training::handle_nonfinite(const StepResult& result) {
  while (engine_->in_flight() > 0) static_cast<void>(engine_->collect());
  const std::string culprit = diagnose_nonfinite(replica_, *loader_, plan_, result.step, control_, *compute_);
  const bool stop = config_.section("train").text("on_nonfinite") == "stop";
  ++at_.skips;
  if (stop || at_.skips > config_.section("train").integer("max_skips"))
    throw diverged(result.step, culprit, !stop);
  log_->note("skipped step " + std::to_string(result.step) + ": " + culprit);
  engine_->acknowledge();
  at_.done = at_.next = result.step + 1;
  loader_->seek(at_.next);
  last_finish_ = Clock::now();
}

void Training::evaluate_now() {
  evaluation_ = evaluate(replica_, engine_->evaluation_values(), *eval_set_, config_.section("data"),
                         evaluation_options(config_, plan_.microbatch), control_, *compute_);
  const bool best = at_.note_evaluation(evaluation_.values.front().second, evaluation_.larger_is_better);
  log_->evaluation(at_.done, evaluation_, best);
  replica_.refresh_working(replica_.store().values(), *compute_);
  if (best && config_.section("checkpoint").boolean("best")) save_now();
}

void Training::save_now() {
  if (at_.saved == at_.done) return;
  const auto start = Clock::now();
  compute_->synchronize();
  Checkpoint checkpoint;
  checkpoint.step = at_.done;
  checkpoint.fingerprint = hash_text(config_.fingerprint());
  StateWriter shared(checkpoint.shared);
  engine_->save(shared);
  save_start(shared, choice_.compressor, engine_->exchange());
  save_choice(shared, schedule_choice_);
  StateWriter own(checkpoint.mine);
  engine_->save_own(own);
  StateWriter progress = shared.scope("progress");
  at_.save(progress);
  KeepRule keep{config_.section("checkpoint").integer("keep"), std::nullopt};
  if (config_.section("checkpoint").boolean("best")) keep.best = at_.best_step;
  const std::string place = save_checkpoint(options_.run_directory, checkpoint, keep, control_);
  at_.saved = at_.done;
  log_->checkpoint(at_.done, place, seconds_since(start));
}

Outcome Training::close(const std::string& status) {
  tell(trace_.close(*engine_, options_.run_directory, world_.rank()));
  Outcome outcome;
  outcome.exit_code = status == "done" ? 0 : kStoppedExitCode;
  outcome.end = {status, at_.done, replica_.store().parameter_hash(), replica_.store().state_hash(),
                 checkpoint_name(at_.saved)};
  outcome.last_loss = last_loss_;
  outcome.evaluation = evaluation_;
  log_->finish(outcome.end);
  control_.barrier();
  return outcome;
}

}  // namespace

std::unique_ptr<PreparedRun> prepare_run(const Config& config, comm::World& world) {
  check_reproducible(config);
  check_compression(config);
  check_schedule(config, world);
  return std::make_unique<Training>(config, world);
}

Outcome train(const Config& config, comm::World& world, RunLog& log, const TrainingOptions& options) {
  return prepare_run(config, world)->run(log, options);
}

}  // namespace lockstep::trainer
