// A whole training run of one rank: builds the parts that the config names, runs the loop, evaluates, saves,
// and reports. What can be refused is refused before anything is written.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "comm/transport.h"
#include "core/options.h"
#include "trainer/run_log.h"

namespace lockstep::trainer {

struct TrainingOptions {
  std::string run_directory;  ///< exists; the same on every rank
  bool resume = false;
  /// Asked between steps: the name of the signal that wants the run to stop, or empty. Null: never. Any rank
  /// may answer; all stop in the same step.
  std::function<std::string()> asked_to_stop;
};

/// How a run ended, the same on every rank.
struct Outcome {
  int exit_code = 0;  ///< 0 done, 75 stopped early and resumable
  RunEnd end;
  float last_loss = 0;
  Evaluation evaluation;  ///< the last one; no values when there was none
};

/// A run whose parts are built from a config and whose input was found good. Nothing is written yet.
class PreparedRun {
 public:
  virtual ~PreparedRun() = default;
  /// Steps of the whole training.
  [[nodiscard]] virtual std::int64_t steps() const noexcept = 0;
  /// Collective, once. Trains from the config's start or the newest checkpoint to its end. Throws Error; a
  /// diverged run throws Fault::diverged naming rank, slot and samples.
  [[nodiscard]] virtual Outcome run(RunLog& log, const TrainingOptions& options) = 0;
};

/// Collective. Throws Error for a config, data, weights or device that cannot be trained with. Lends `config`
/// and `world`, which must outlive the run.
[[nodiscard]] std::unique_ptr<PreparedRun> prepare_run(const Config& config, comm::World& world);

/// Collective. prepare_run() and run() at once, in a directory that exists.
[[nodiscard]] Outcome train(const Config& config, comm::World& world, RunLog& log,
                            const TrainingOptions& options);

/// What --dry-run prints: the plan of one rank without running it: nodes with FLOPs, parameters and bytes;
/// memory; buckets; cost of the exchange.
[[nodiscard]] std::string describe_plan(const Config& config, int ranks, bool one_node);

}  // namespace lockstep::trainer
