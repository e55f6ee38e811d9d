// How far a run has come: what the loop must remember besides the model and the optimizer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/state.h"

namespace lockstep::trainer {

struct Progress {
  std::int64_t first = 0;      ///< step at which this process began
  std::int64_t next = 0;       ///< step to enqueue
  std::int64_t done = 0;       ///< updates done
  std::int64_t skips = 0;      ///< steps left out because they were not finite
  std::int64_t saved = -1;     ///< step of the newest checkpoint
  std::optional<double> best;  ///< best value of the metric so far
  std::optional<std::int64_t> best_step;

  /// Takes note of an evaluation after step `done`; true when it is the best so far.
  bool note_evaluation(double value, bool larger_is_better);
  /// The multiple of `every` that the run stands at or will reach next, beyond `done`. `every` > 0.
  [[nodiscard]] std::int64_t next_multiple(std::int64_t every) const { return (done / every + 1) * every; }
  /// True when `every` is in force (> 0) and divides `done`.
  [[nodiscard]] bool due(std::int64_t every) const { return every > 0 && done % every == 0; }

  void save(StateWriter& writer) const;
  /// Continues after `step`, the one that the checkpoint was written at.
  void load(const StateReader& reader, std::int64_t step);
};

/// "0m07s", "59m59s"; from an hour on "1h00m". Rounded to what is shown.
[[nodiscard]] std::string duration_text(double seconds);
/// Until `steps` are done, when those from `first` to `done` (at least one) took `elapsed_s`.
[[nodiscard]] double seconds_left(double elapsed_s, std::int64_t first, std::int64_t done,
                                  std::int64_t steps);

}  // namespace lockstep::trainer
