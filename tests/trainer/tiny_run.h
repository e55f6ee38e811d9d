// Small whole runs for tests: data sets of a few samples, a config on the reference backend, ranks as threads
// of this process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/options.h"
#include "tests/support/scratch_directory.h"
#include "trainer/training.h"

namespace lockstep::trainer {

/// Images [1, 6, 6] of three classes that a small model can tell apart: 96 to train, 22 to test. `poisoned`
/// (an index) gets a NaN.
void write_tiny_images(const std::string& file, int poisoned = -1);
/// 2,000 tokens of a vocabulary of 11, windows of 8.
void write_tiny_tokens(const std::string& file);

using Overrides = std::vector<std::string>;

/// A config over the file in `directory`: "images" or "tokens", with overrides as --set takes them.
[[nodiscard]] Config tiny_config(const std::string& directory, const std::string& kind,
                                 const Overrides& overrides = {});

/// Trains on `ranks` threads; every rank's outcome must be the same, and it is returned.
[[nodiscard]] Outcome run_tiny(const Config& config, int ranks, const TrainingOptions& options);
/// A run on the tiny images of folder `data`, in `directory`; stopped by a signal after `stop_after` steps
/// where that is not 0.
[[nodiscard]] Outcome run_part(const std::string& data, const std::string& directory,
                               const Overrides& overrides, int stop_after, bool resume, int ranks = 2);

/// What a training left, to compare bit for bit.
struct Hashes {
  std::uint64_t parameters, state;
  float loss;
  friend bool operator==(const Hashes&, const Hashes&) = default;
};

[[nodiscard]] Hashes hashes_of(const Outcome& outcome);
/// Trains in a directory of its own, on the data set of `kind`.
[[nodiscard]] Hashes train_once(const std::string& kind, const Overrides& overrides, int ranks);

}  // namespace lockstep::trainer
