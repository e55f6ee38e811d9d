// What a run tells: lines on the terminal (rank 0), metrics.jsonl, summary.json and the resolved config in
// the run directory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/evaluate.h"
#include "trainer/step.h"

namespace lockstep::trainer {

/// What the run is, for the header on the terminal and the summary.
struct RunFacts {
  std::string config;  ///< resolved, for config.yaml; empty leaves that as it is
  std::string model;
  std::string data;
  std::string device;
  std::string schedule;
  std::string compressor = "none";
  std::string world;
  int ranks = 1;
  std::int64_t parameters = 0;
  std::int64_t global_batch = 0;
  std::int64_t microbatch = 0;
  std::int64_t microbatches_per_step = 0;
  std::int64_t steps = 0;
  std::int64_t first_step = 0;
  std::int64_t steps_per_epoch = 1;
  std::int64_t buckets = 0;
  std::string unit = "samples";
  double units_per_sample = 1;  ///< tokens per sample for language models
};

/// One finished step and the time since the one before finished.
struct StepRecord {
  StepResult result;
  double seconds = 0;
  double data_wait_s = 0;
};

/// How a run ended.
struct RunEnd {
  std::string status;  ///< "done", "stopped", "diverged"
  std::int64_t steps = 0;
  std::uint64_t parameter_hash = 0;
  std::uint64_t state_hash = 0;
  std::string checkpoint;  ///< newest, relative to the run directory; empty: none
};

class RunLog {
 public:
  virtual ~RunLog() = default;
  virtual void start(const RunFacts& facts) = 0;
  virtual void step(const StepRecord& record) = 0;
  virtual void evaluation(std::int64_t step, const Evaluation& evaluation, bool best) = 0;
  virtual void checkpoint(std::int64_t step, const std::string& path, double seconds) = 0;
  /// A sentence worth a line on the terminal and in the log file.
  virtual void note(std::string_view sentence) = 0;
  /// Writes summary.json and the closing lines.
  virtual void finish(const RunEnd& end) = 0;
};

/// Rank 0 of a run; `log_every` steps between lines. `directory` exists. A resumed run appends to
/// metrics.jsonl after dropping lines of steps that will be repeated.
[[nodiscard]] std::unique_ptr<RunLog> make_run_log(const std::string& directory, std::int64_t log_every);
/// Every other rank: says nothing.
[[nodiscard]] std::unique_ptr<RunLog> make_silent_log();

/// A run directory that is this job's alone, until the end of its process at the latest, however it ends.
class RunClaim {
 public:
  RunClaim() = default;
  RunClaim(const RunClaim&) = delete;
  RunClaim& operator=(const RunClaim&) = delete;
  ~RunClaim();
  /// Once. Throws Fault::config when another claim on `directory` is alive.
  void take(const std::string& directory);

 private:
  int descriptor_ = -1;
};

/// After how many steps the run in `directory` was done, by its summary; -1: it is not done.
[[nodiscard]] std::int64_t done_after(const std::string& directory);

/// Makes the run directory (and parents), claims it if asked to, and writes config.yaml into it, unless
/// `resume` finds one there: that describes the checkpoints until the log starts. Empty `wanted`:
/// runs/<name>-<number>, the first number that is free. Throws Fault::config when it cannot be
/// written, when it holds another run and `resume` is false, or when another job has claimed it.
[[nodiscard]] std::string make_run_directory(const std::string& wanted, const std::string& name, bool resume,
                                             const std::string& resolved_config, RunClaim* claim = nullptr);

}  // namespace lockstep::trainer
