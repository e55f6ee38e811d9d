// The small work of a step around forward, backward and exchange, as a table per device. All functions but
// note() enqueue on the stream; `scalars` and tails are device memory.
#pragma once

#include <cstdint>
#include <functional>

#include "core/flat_span.h"
#include "core/step_scalars.h"
#include "core/stream.h"
#include "trainer/step_rules.h"

namespace lockstep::trainer {

struct StepKernels {
  /// Writes the numbers of a step that begins.
  void (*open)(StepScalars* scalars, const StepOpening& opening, Stream& stream);
  /// *position = value.
  void (*set_position)(std::int64_t* position, std::int64_t value, Stream& stream);
  /// Readies the tail of the statistics for a microbatch: no loss yet, and in the `first` one whether this
  /// rank was asked to stop.
  void (*begin_tail)(StepTail* tail, const StepScalars* scalars, bool first, Stream& stream);
  /// Makes the loss of `tail` not a number unless *nonfinite is 0.
  void (*poison)(StepTail* tail, const std::int64_t* nonfinite, Stream& stream);
  /// Take the time before and after a wait for communication; on the device, so that recordings take it too.
  void (*begin_wait)(StepScalars* scalars, Stream& stream);
  void (*end_wait)(StepScalars* scalars, Stream& stream);
  /// Norm, loss, the decision to skip, the clip factor, the next loss scale, from sums over all ranks.
  /// `squares`: two doubles that add up to the gradients' squares.
  void (*finish)(StepScalars* scalars, const double* squares, const StepTail* tail, const StepRule& rule,
                 Stream& stream);
  /// state = (1 - share) state + share * mean of statistics, element by element, unless skipped.
  void (*update_state)(FlatSpan state, FlatSpan statistics, FlatSpan shares, const StepScalars* scalars,
                       Stream& stream);
  /// average = keep * average + (1 - keep) values, unless skipped.
  void (*update_average)(FlatSpan average, FlatSpan values, float keep, const StepScalars* scalars,
                         Stream& stream);
  /// Copies the scalars to staging memory.
  void (*read)(const StepScalars* scalars, StepScalars* host, Stream& stream);
  /// Clears `skip`.
  void (*acknowledge)(StepScalars* scalars, Stream& stream);
  /// Runs host work that keeps count of what the stream does: in stream order where work is done by the host,
  /// at once where it is enqueued by the host.
  void (*note)(Stream& stream, std::function<void()> work);
};

}  // namespace lockstep::trainer
