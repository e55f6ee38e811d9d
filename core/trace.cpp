#include "core/trace.h"

#include <utility>

namespace lockstep {

/// The host's zero is as near to the stream's as the quickest of a few round trips tells.
Trace::Trace(Stream& stream) : clock_(make_stream_clock(stream.device())) {
  using Clock = std::chrono::steady_clock;
  auto quickest = Clock::duration::max();
  stream.synchronize();
  for (int round = 0; round < 5; ++round) {
    const auto begin = Clock::now();
    const std::size_t point = clock_->mark(stream);
    stream.synchronize();
    const auto taken = Clock::now() - begin;
    if (taken >= quickest) continue;
    quickest = taken;
    zero_ = point;
    host_zero_ = begin + taken / 2;
  }
}

void Trace::add(std::string track, std::string name, std::chrono::steady_clock::time_point begin,
                std::chrono::steady_clock::time_point end) {
  const auto since_zero = [this](auto time) {
    return std::chrono::duration<double>(time - host_zero_).count();
  };
  entries_.push_back(
      {{std::move(track), std::move(name), step_, 0, since_zero(begin), since_zero(end)}, std::nullopt});
}

std::vector<TracedSpan> Trace::spans() {
  std::vector<TracedSpan> spans;
  for (const Entry& entry : entries_) {
    spans.push_back(entry.span);
    if (!entry.points) continue;
    spans.back().begin_s = clock_->seconds(zero_, entry.points->begin);
    spans.back().end_s = clock_->seconds(zero_, entry.points->end);
  }
  return spans;
}

Trace::Span::Span(Trace* trace, std::string_view track, std::string_view name, Stream& stream,
                  std::int64_t bytes)
    : trace_(trace), stream_(stream) {
  if (trace_ == nullptr) return;
  index_ = trace_->entries_.size();
  const std::size_t begin = trace_->clock_->mark(stream_);
  trace_->entries_.push_back(
      {{std::string(track), std::string(name), trace_->step_, bytes, 0, 0}, Points{begin, begin}});
}

Trace::Span::~Span() {
  if (trace_ != nullptr) trace_->entries_[index_].points->end = trace_->clock_->mark(stream_);
}

}  // namespace lockstep
