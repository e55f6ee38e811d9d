// A host stream's points are host tasks that look at the clock.
#include <chrono>
#include <deque>

#include "core/backends.h"
#include "core/host_stream.h"
#include "core/stream_clock.h"

namespace lockstep {

namespace {

class HostStreamClock final : public StreamClock {
 public:
  std::size_t mark(Stream& stream) override {
    if (used_ == points_.size()) points_.emplace_back();  // the others stay where they are
    Point& point = points_[used_];
    stream.host([&point] { point.at = Clock::now(); });
    point.passed = stream.record();
    return used_++;
  }
  [[nodiscard]] double seconds(std::size_t from, std::size_t to) override {
    points_[from].passed.wait();
    points_[to].passed.wait();
    return std::chrono::duration<double>(points_[to].at - points_[from].at).count();
  }
  void reset() override { used_ = 0; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Point {
    Clock::time_point at;
    Event passed;
  };
  std::deque<Point> points_;
  std::size_t used_ = 0;
};

}  // namespace

std::unique_ptr<StreamClock> make_host_stream_clock(Device /*device*/) {
  return std::make_unique<HostStreamClock>();
}

std::unique_ptr<StreamClock> make_stream_clock(Device device) {
  return backend_of(device).make_stream_clock(device);
}

}  // namespace lockstep
