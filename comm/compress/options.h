// What an exchange is told about compression, and what it tells about it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/options.h"

namespace lockstep::comm {

/// The numbers of a step that compression needs; the same on every rank.
struct StepNumbers {
  std::int64_t step = 0;
  float rate = 1;   ///< learning rate
  float scale = 1;  ///< multiplies the sum over ranks to give the mean gradient
};

/// Momentum that is in what comes back instead of a gradient. heavy_ball: u = m u + g from the first step on,
/// and with Nesterov's look ahead g + m u. average: u = m u + (1 - m) g, from the end of the exact steps on.
/// refreshed: the same, but exact steps come again (core/refresh.h), and the optimizer measures its second
/// moment in exact steps alone.
enum class MomentumKind { none, heavy_ball, average, refreshed };

/// See CompressionOptions::exact_steps.
inline constexpr std::int64_t kExactStart = -1;

struct CompressionOptions {
  std::string name = "none";
  /// The settings of a row of the table; empty: its defaults.
  std::function<Options(std::string_view)> settings;
  /// "pattern=name": slots whose name matches (with * and ?) are sent by that compressor; the first rule that
  /// matches counts.
  std::vector<std::string> rules;
  std::int64_t min_elements = 1024;  ///< smaller slots are summed exactly
  std::uint64_t seed = 0;
  /// The optimizer's, for compressors that make it in its place; none: it cannot do without its own.
  MomentumKind momentum_kind = MomentumKind::none;
  float momentum = 0;
  bool nesterov = false;
  /// First steps that are summed exactly, but for compressors that see to their own start; with 1-bit Adam
  /// its optimizer's. kExactStart: the fifth of `steps` where a compressor asks for it, else none.
  std::int64_t exact_steps = 0;
  std::int64_t steps = 0;         ///< of the training
  std::int64_t sample_every = 0;  ///< steps between comparisons with the true sum; 0: never

  [[nodiscard]] bool any() const noexcept { return name != "none" || !rules.empty(); }
};

/// Seconds of an exchange by what they were spent on.
struct PhaseTimes {
  double encode_s = 0;
  double wire_s = 0;
  double decode_s = 0;
};

/// Sampled elements of a bucket as they came back, beside their true sum.
struct SampleReport {
  bool holds = false;  ///< false when all of them are zero
  double relative_error = 0;
  double cosine = 0;
  double residual_norm = 0;  ///< of this rank, of the whole bucket
};

/// What one bucket's exchange did in a step. Times and waiting are known on the host only: a GPU is not asked
/// for them in the middle of its work.
struct BucketReport {
  int bucket = 0;
  std::string compressor;        ///< of its largest group; "none": all exact
  std::int64_t dense_bytes = 0;  ///< of the bucket as f32
  std::int64_t wire_bytes = 0;   ///< sent by this rank
  PhaseTimes times;
  double exposed_s = 0;  ///< time the compute stream waited for it
  /// Null in steps that are not sampled; read it when the stream has passed the exchange.
  std::shared_ptr<const SampleReport> sample;
};

}  // namespace lockstep::comm
