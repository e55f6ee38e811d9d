// A host stream's points are host tasks that look at the clock.
#include <chrono>

#include "core/backends.h"
#include "core/host_stream.h"
#include "core/stopwatch.h"

namespace lockstep {

namespace {

class HostStopwatch final : public Stopwatch {
 public:
  void start(Stream& stream) override { at(stream, begin_); }
  void stop(Stream& stream) override {
    at(stream, end_);
    stopped_ = stream.record();
  }
  [[nodiscard]] double seconds() override {
    stopped_.wait();
    return std::chrono::duration<double>(end_ - begin_).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  static void at(Stream& stream, Clock::time_point& point) {
    stream.host([&point] { point = Clock::now(); });
  }
  Clock::time_point begin_, end_;
  Event stopped_;
};

}  // namespace

std::unique_ptr<Stopwatch> make_host_stopwatch(Device /*device*/) {
  return std::make_unique<HostStopwatch>();
}

std::unique_ptr<Stopwatch> make_stopwatch(Device device) { return backend_of(device).make_stopwatch(device); }

}  // namespace lockstep
