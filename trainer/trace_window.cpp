#include "trainer/trace_window.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

namespace lockstep::trainer {

namespace {

using Json = nlohmann::ordered_json;

Json name_event(const char* what, int rank, std::size_t track, const std::string& name) {
  return {{"ph", "M"}, {"name", what}, {"pid", rank}, {"tid", track}, {"args", {{"name", name}}}};
}

Json span_event(const TracedSpan& span, int rank, std::size_t track) {
  Json arguments{{"step", span.step}};
  if (span.bytes > 0) arguments["bytes"] = span.bytes;
  return {{"ph", "X"},
          {"name", span.name},
          {"cat", span.track},
          {"pid", rank},
          {"tid", track},
          {"ts", 1e6 * span.begin_s},
          {"dur", 1e6 * (span.end_s - span.begin_s)},
          {"args", arguments}};
}

/// False when it could not be written.
bool write(const std::filesystem::path& file, const std::string& text) {
  std::error_code error;
  std::filesystem::create_directories(file.parent_path(), error);
  return static_cast<bool>(
      std::ofstream(file).write(text.data(), static_cast<std::streamsize>(text.size())).flush());
}

}  // namespace

std::string trace_text(const std::vector<TracedSpan>& spans, int rank) {
  std::vector<std::string> tracks;
  Json events = Json::array({name_event("process_name", rank, 0, "rank " + std::to_string(rank))});
  for (const TracedSpan& span : spans) {
    const auto known = std::find(tracks.begin(), tracks.end(), span.track);
    const auto track = static_cast<std::size_t>(known - tracks.begin());
    if (known == tracks.end()) {
      tracks.push_back(span.track);
      events.push_back(name_event("thread_name", rank, track, span.track));
    }
    events.push_back(span_event(span, rank, track));
  }
  return Json{{"traceEvents", events}, {"displayTimeUnit", "ms"}}.dump();
}

TraceWindow::TraceWindow(const Options& run, std::int64_t steps)
    : from_(run.integer("trace_from")), to_(std::min(steps, from_ + run.integer("trace_steps"))) {}

void TraceWindow::before(std::int64_t step, StepEngine& engine, Stream& compute, comm::Control& control) {
  if (trace_ && step >= to_) engine.tell(nullptr);
  if (trace_ || step < from_ || step >= to_) return;
  compute.synchronize();
  control.barrier();
  engine.tell(&trace_.emplace(compute));
}

std::string TraceWindow::after(std::int64_t done, StepEngine& engine, const std::string& directory,
                               int rank) {
  return done < to_ ? "" : close(engine, directory, rank);
}

std::string TraceWindow::close(StepEngine& engine, const std::string& directory, int rank) {
  if (!trace_) return "";
  engine.tell(nullptr);
  const std::string text = trace_text(trace_->spans(), rank);
  trace_.reset();
  from_ = to_;  // once
  const std::filesystem::path file =
      std::filesystem::path(directory) / "trace" / ("rank-" + std::to_string(rank) + ".json");
  if (!write(file, text)) return "the trace could not be written to '" + file.string() + "'";
  return "traced: open " + file.string() + " in https://ui.perfetto.dev or chrome://tracing";
}

}  // namespace lockstep::trainer
