// How a step's samples are dealt to ranks and microbatches, and how many steps there are. Checked once,
// before any rank starts work.
#pragma once

#include <cstdint>

#include "core/options.h"
#include "data/loader.h"

namespace lockstep::trainer {

struct BatchPlan {
  std::int64_t global = 0;      ///< samples per step over all ranks
  std::int64_t microbatch = 0;  ///< samples of one forward and backward
  data::Shard shard;            ///< this rank's microbatches of each step
  std::int64_t steps = 0;       ///< of the whole training
  std::int64_t steps_per_epoch = 0;
};

/// From sections "batch" and "train" and the number of training samples. Throws Fault::config naming the key
/// and a value that would do.
[[nodiscard]] BatchPlan plan_batches(const Options& batch, const Options& train, std::int64_t samples,
                                     int rank, int ranks, data::Tail tail = data::Tail::drop);

}  // namespace lockstep::trainer
