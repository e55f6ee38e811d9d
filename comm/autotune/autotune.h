// `allreduce.name: auto`: a short sweep at start-up measures links, additions and sums that are no plan, the
// model predicts a step for every schedule and bucket size, the best few are measured, and the fastest is
// taken. The objective is the time of a step: backward with the sums that overlap it, and what is left of
// them after it. Rank 0 decides for all.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/allreduce/schedule.h"
#include "comm/transport.h"

namespace lockstep::comm {

/// What is tuned for. A choice that is given is kept, and measured like the others.
struct TuneTask {
  std::int64_t total_bytes = 0;  ///< of the gradients, as if they were fp32; so are bucket sizes
  double backward_s = 0;         ///< while which they complete
  std::int64_t first_bucket_bytes = 1 << 20;
  std::string schedule;           ///< forced: "ring:segment=65536"; empty: choose
  std::int64_t bucket_bytes = 0;  ///< forced; 0: choose
  double deadline_s = 60;
  Device device = {};              ///< where this rank's gradients lie
  std::string device_model;        ///< "NVIDIA H200"
  Dtype dtype = Dtype::f32;        ///< of the gradients
  std::string transport = "auto";  ///< of GPU memory, with settings: "nccl:max_ctas=8"
  /// Choices are kept here for the same task, hosts, devices and ranks; a damaged one is measured again.
  /// Empty: nowhere.
  std::string cache_directory;
};

/// One candidate, predicted and, for the best few, measured (0: not).
struct TuneRow {
  std::string schedule;
  std::int64_t bucket_bytes = 0;
  double predicted_sum_s = 0;
  double measured_sum_s = 0;
  double step_s = 0;  ///< by the measured sum where there is one
};

struct Choice {
  std::string schedule;
  std::int64_t bucket_bytes = 0;
  std::vector<TuneRow> rows;  ///< best first; empty when the choice was read
  bool from_cache = false;
};

/// What is predicted: the schedule that the task forces, or those that differ on its device. `reach`: its
/// GPUs map each other's memory.
[[nodiscard]] std::vector<std::string> tune_candidates(const TuneTask& task, bool reach);

/// Collective, blocks. The same choice on every rank.
[[nodiscard]] Choice autotune(World& world, const TuneTask& task);

/// A choice as text for files and checkpoints, and back. Throws Fault::config for a text that is none.
[[nodiscard]] std::string text_of(const Choice& choice);
[[nodiscard]] Choice choice_of(const std::string& text);
/// The rows as lines for people: predicted beside measured.
[[nodiscard]] std::string report_of(const Choice& choice);

}  // namespace lockstep::comm
