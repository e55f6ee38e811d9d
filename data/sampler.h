// Which samples make up which microbatch. An epoch's order is a pseudo-random permutation f(seed, epoch) that
// is computed position by position (a Feistel network with cycle walking: Black and Rogaway, "Ciphers with
// Arbitrary Finite Domains", 2002), so any step is found without replaying what lies before and without
// memory.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "data/loader.h"

namespace lockstep::data {

/// A permutation of [0, size).
class EpochOrder {
 public:
  EpochOrder(std::uint64_t seed, std::int64_t epoch, std::int64_t size);
  /// The sample at a position; 0 <= position < size.
  [[nodiscard]] std::int64_t operator()(std::int64_t position) const noexcept;

 private:
  [[nodiscard]] std::uint64_t encrypt(std::uint64_t value) const noexcept;
  static constexpr int kRounds = 8;
  std::array<std::uint64_t, kRounds> keys_{};
  std::uint64_t size_;
  int half_bits_;
};

/// One microbatch of samples.
struct Pick {
  std::vector<std::int64_t> samples;  ///< always a whole microbatch; beyond `rows` the last sample repeats
  std::int64_t rows = 0;              ///< samples that count
  std::int64_t first_position = 0;    ///< global sample number of the first
  std::int64_t epoch = 0;
};

/// Deals the samples [begin, begin + samples) as microbatches.
struct SamplerOptions {
  std::int64_t begin = 0;
  std::int64_t samples = 0;
  std::int64_t microbatch = 1;
  Shard shard = {};
  Tail tail = Tail::drop;
  bool train = true;    ///< false: fixed order, one pass, the last microbatch partly filled
  bool shuffle = true;  ///< when training: another order every epoch, or the stored one
  bool local = false;   ///< the samples belong to this shard alone (files pinned to ranks): it deals them to
                        ///< its own microbatches only
  std::uint64_t seed = 0;
  std::int64_t steps =
      0;  ///< steps an epoch has; 0: what the samples give (shards of unlike size must agree)
};

class Sampler {
 public:
  /// Throws Fault::config when no step can be filled.
  explicit Sampler(const SamplerOptions& options);
  [[nodiscard]] std::int64_t steps_per_epoch() const noexcept { return steps_; }
  /// Microbatch `j` (global number within the step) of step `step`.
  [[nodiscard]] Pick pick(std::int64_t step, std::int64_t j) const;
  /// A sentence on the samples that do not fill a step; empty when all do.
  [[nodiscard]] std::string tail_note() const;

 private:
  [[nodiscard]] std::int64_t per_step() const noexcept;
  SamplerOptions options_;
  std::int64_t steps_;
};

}  // namespace lockstep::data
