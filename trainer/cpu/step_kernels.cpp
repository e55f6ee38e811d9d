// The step's small work as host tasks.
#include <chrono>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

#include "trainer/cpu/kernels.h"

namespace lockstep::trainer {

namespace {

void open(StepScalars* scalars, const StepOpening& opening, Stream& stream) {
  stream.host([=] { open_step(*scalars, opening); });
}

void set_position(std::int64_t* position, std::int64_t value, Stream& stream) {
  stream.host([=] { *position = value; });
}

void begin_tail(StepTail* tail, const StepScalars* scalars, bool first, Stream& stream) {
  stream.host([=] { *tail = {0, first ? scalars->asked_to_stop : 0.0f}; });
}

void poison(StepTail* tail, const std::int64_t* nonfinite, Stream& stream) {
  stream.host([=] {
    if (*nonfinite != 0) tail->loss = std::numeric_limits<float>::quiet_NaN();
  });
}

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void begin_wait(StepScalars* scalars, Stream& stream) {
  stream.host([=] { scalars->wait_began_ns = now_ns(); });
}

void end_wait(StepScalars* scalars, Stream& stream) {
  stream.host([=] { add_wait(*scalars, now_ns()); });
}

void finish(StepScalars* scalars, const double* squares, const StepTail* tail, const StepRule& rule,
            Stream& stream) {
  stream.host([=] { finish_step(*scalars, std::sqrt(squares[0] + squares[1]), *tail, rule); });
}

void update_state(FlatSpan state, FlatSpan statistics, FlatSpan shares, const StepScalars* scalars,
                  Stream& stream) {
  stream.host([=] {
    if (scalars->skip != kSkipNone) return;
    const auto running = state.as<float>(), fresh = statistics.as<float>(), share = shares.as<float>();
    for (std::size_t i = 0; i < running.size(); ++i)
      running[i] = (1.0f - share[i]) * running[i] + share[i] * (fresh[i] * scalars->mean);
  });
}

void update_average(FlatSpan average, FlatSpan values, float keep, const StepScalars* scalars,
                    Stream& stream) {
  stream.host([=] {
    if (scalars->skip != kSkipNone) return;
    const auto kept = average.as<float>(), fresh = values.as<float>();
    for (std::size_t i = 0; i < kept.size(); ++i) kept[i] = keep * kept[i] + (1.0f - keep) * fresh[i];
  });
}

void read(const StepScalars* scalars, StepScalars* host, Stream& stream) {
  stream.host([=] { *host = *scalars; });
}

void acknowledge(StepScalars* scalars, Stream& stream) {
  stream.host([=] { scalars->skip = kSkipNone; });
}

void note(Stream& stream, std::function<void()> work) { stream.host(std::move(work)); }

}  // namespace

const StepKernels cpu_step_kernels = {
    .open = open,
    .set_position = set_position,
    .begin_tail = begin_tail,
    .poison = poison,
    .begin_wait = begin_wait,
    .end_wait = end_wait,
    .finish = finish,
    .update_state = update_state,
    .update_average = update_average,
    .read = read,
    .acknowledge = acknowledge,
    .note = note,
};

}  // namespace lockstep::trainer
