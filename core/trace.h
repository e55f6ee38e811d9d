// What streams and the host did when: named spans on tracks, all on one time line of this process.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/stream_clock.h"

namespace lockstep {

/// Seconds count from where the trace began.
struct TracedSpan {
  std::string track, name;
  std::int64_t step = 0;
  std::int64_t bytes = 0;  ///< that it moved; 0: none, or nobody said
  double begin_s = 0, end_s = 0;
};

/// Used by one thread at a time. On a GPU every end of a span is an event, which holds kernels up a little.
class Trace {
 public:
  /// Begins where `stream` is; blocks until it is there. All streams to come belong to its device.
  explicit Trace(Stream& stream);

  /// What comes belongs to `step`.
  void enter(std::int64_t step) noexcept { step_ = step; }
  /// Something of the host that has passed.
  void add(std::string track, std::string name, std::chrono::steady_clock::time_point begin,
           std::chrono::steady_clock::time_point end);
  /// In the order in which they began to be enqueued; blocks until the streams have passed them. All Spans
  /// have ended.
  [[nodiscard]] std::vector<TracedSpan> spans();

  /// Enqueues its begin where it is made and its end where it goes. Does nothing where `trace` is null.
  class Span {
   public:
    Span(Trace* trace, std::string_view track, std::string_view name, Stream& stream, std::int64_t bytes = 0);
    ~Span();
    Span(const Span&) = delete;
    Span& operator=(const Span&) = delete;

   private:
    Trace* trace_;
    Stream& stream_;
    std::size_t index_ = 0;
  };

 private:
  struct Points {
    std::size_t begin, end;
  };
  struct Entry {
    TracedSpan span;
    std::optional<Points> points;  ///< none: the host's, whose times are there
  };
  std::unique_ptr<StreamClock> clock_;
  std::size_t zero_ = 0;
  std::chrono::steady_clock::time_point host_zero_;
  std::int64_t step_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace lockstep
