#include "comm/compress/phases.h"

#include <chrono>

namespace lockstep::comm {
namespace {

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

bool on_host(const Stream& stream) { return stream.device().kind == DeviceKind::cpu; }

double& part_of(PhaseTimes& times, Phase phase) {
  return phase == Phase::encode ? times.encode_s : phase == Phase::wire ? times.wire_s : times.decode_s;
}

}  // namespace

void PhaseClock::start(Stream& stream) {
  if (!on_host(stream)) {
    marked_ = 0;
    if (on_gpus_) start_lap(stream);
    return;
  }
  stream.host([this] {
    host_times_ = {};
    last_mark_ = now_s();
  });
}

void PhaseClock::start_lap(Stream& stream) {
  if (marked_ == laps_.size()) laps_.push_back({make_stopwatch(stream.device()), Phase::encode});
  laps_[marked_].watch->start(stream);
}

void PhaseClock::mark(Phase phase, Stream& stream) {
  if (on_host(stream)) {
    stream.host([this, phase] {
      const double now = now_s();
      part_of(host_times_, phase) += now - last_mark_;
      last_mark_ = now;
    });
    return;
  }
  if (!on_gpus_) return;
  laps_[marked_].watch->stop(stream);
  laps_[marked_].phase = phase;
  ++marked_;
  start_lap(stream);
}

PhaseTimes PhaseClock::times() {
  PhaseTimes times = host_times_;
  for (std::size_t i = 0; i < marked_; ++i) part_of(times, laps_[i].phase) += laps_[i].watch->seconds();
  return times;
}

}  // namespace lockstep::comm
