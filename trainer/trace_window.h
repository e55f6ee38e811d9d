// The steps of a run that are traced: RUN/trace/rank-R.json says what each of them did when, in the format of
// chrome://tracing and Perfetto ("Trace Event Format", complete events, microseconds; a rank is a process, a
// track a thread).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "comm/collectives.h"
#include "core/options.h"
#include "core/trace.h"
#include "trainer/step.h"

namespace lockstep::trainer {

class TraceWindow {
 public:
  /// `run`: section "run" of a config. `steps`: of the whole run.
  TraceWindow(const Options& run, std::int64_t steps);

  /// Collective. Before `step` is enqueued: in front of the first traced one ranks meet, so that their time
  /// lines begin together.
  void before(std::int64_t step, StepEngine& engine, Stream& compute, comm::Control& control);
  /// After `done` steps have been collected: behind the last traced one it writes the file and returns a
  /// sentence on it; else returns nothing.
  [[nodiscard]] std::string after(std::int64_t done, StepEngine& engine, const std::string& directory,
                                  int rank);
  /// The same where the run ends early; nothing may be in flight.
  [[nodiscard]] std::string close(StepEngine& engine, const std::string& directory, int rank);

 private:
  std::int64_t from_, to_;
  std::optional<Trace> trace_;
};

/// `spans` of `rank` as a document in that format.
[[nodiscard]] std::string trace_text(const std::vector<TracedSpan>& spans, int rank);

}  // namespace lockstep::trainer
