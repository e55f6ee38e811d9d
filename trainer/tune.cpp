#include "trainer/tune.h"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <utility>

#include "comm/allreduce/auto.h"
#include "comm/autotune/autotune.h"
#include "core/backends.h"
#include "core/recording.h"
#include "core/state.h"
#include "core/stopwatch.h"
#include "trainer/parts.h"

namespace lockstep::trainer {

namespace {

constexpr const char* kFile = "/allreduce.json";
constexpr const char* kKey = "allreduce";

/// Seconds of one microbatch's backward, the second of two: the first one warms caches and plans. On a device
/// where steps are recorded the second one is, too: its launches would not show in a step.
double backward_seconds(const TuneRun& run) {
  models::Pass pass = run.replica.pass(models::Mode::train, run.replica.store().values());
  const FlatArray statistics =
      make_array(run.replica.device(), Dtype::f32, run.replica.store().state().count);
  pass.statistics = statistics.span;
  const auto stopwatch = make_stopwatch(run.replica.device());
  double seconds = 0;
  for (int turn = 0; turn < 2; ++turn) {
    const data::Microbatch& batch = run.loader.next();
    pass.first_sample = batch.first_position;
    run.replica.executor().feed(batch.input, batch.target, run.compute);
    run.replica.executor().forward(pass, run.compute);
    const auto backward = [&] {
      run.replica.executor().backward(
          pass, [](int) {}, run.compute);
    };
    const auto recorded = run.records && turn > 0 ? record_work(run.compute, backward) : nullptr;
    stopwatch->start(run.compute);
    recorded != nullptr ? recorded->run(run.compute) : backward();
    stopwatch->stop(run.compute);
    run.compute.synchronize();
    seconds = stopwatch->seconds();
  }
  return run.control.maximum(seconds);
}

std::string cache_directory() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache != '\0') {
    return std::string(cache) + "/lockstep";
  }
  const char* home = std::getenv("HOME");
  return home == nullptr ? "" : std::string(home) + "/.cache/lockstep";
}

/// What the run chose at first: from its directory, or, where that file is gone, from its checkpoint.
std::string remembered(const TuneRun& run, const StateReader& saved) {
  std::ifstream file(run.run_directory + kFile);
  if (file) return {std::istreambuf_iterator<char>(file), {}};
  return saved.has(kKey) ? saved.text(kKey) : "";
}

comm::Choice choose(const TuneRun& run, const StateReader& saved, std::int64_t first_bucket_bytes) {
  const std::string kept =
      run.control.broadcast(run.resume && run.world.rank() == 0 ? remembered(run, saved) : "");
  if (!kept.empty()) return comm::choice_of(kept);
  const Options settings = run.config.part("allreduce");
  comm::TuneTask task;
  task.total_bytes = run.replica.store().layout().stored_count() * static_cast<std::int64_t>(sizeof(float));
  task.backward_s = backward_seconds(run);
  task.first_bucket_bytes = first_bucket_bytes;
  task.schedule = settings.text("schedule");
  task.bucket_bytes = static_cast<std::int64_t>(settings.real("bucket_mib") * (1 << 20));
  task.device = run.replica.device();
  task.device_model = backend_of(task.device).model(task.device);
  task.dtype = run.replica.store().gradients().dtype;
  task.transport = run.config.part_name("transport");
  if (const std::string given = run.config.part("transport").given_text(); !given.empty())
    task.transport += ":" + given;
  task.deadline_s = run.config.section("run").real("deadline_s");
  if (settings.boolean("cache")) task.cache_directory = cache_directory();
  return comm::autotune(run.world, task);
}

}  // namespace

std::string tune_exchange(const TuneRun& run, const StateReader& saved, comm::Schedule& schedule,
                          comm::ExchangeOptions& exchange) {
  auto* chosen_later = dynamic_cast<comm::AutoSchedule*>(&schedule);
  if (chosen_later == nullptr) return {};
  const comm::Choice choice = choose(run, saved, exchange.first_bucket_bytes);
  chosen_later->adopt(comm::schedule_called(choice.schedule));
  exchange.bucket_bytes = choice.bucket_bytes;
  const std::string text = comm::text_of(choice);
  run.log.note(comm::report_of(choice));
  if (run.world.rank() == 0) std::ofstream(run.run_directory + kFile) << text;
  return text;
}

void reconnect(const Config& config, comm::World& world, std::shared_ptr<const comm::Schedule> schedule,
               ParameterStore& store, const Connections& connections) {
  auto fresh = connect(config, world, store.device(), std::move(schedule));
  store.move_gradients(fresh->shared_memory(store.gradients().bytes()));  // the old lender still stands
  connections.others = fresh->duplicate();
  connections.sums = std::move(fresh);
}

void save_choice(StateWriter& shared, const std::string& choice) {
  if (!choice.empty()) shared.text(kKey, choice);
}

}  // namespace lockstep::trainer
