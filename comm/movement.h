// Plans of the collectives that add nothing: pure functions like an all-reduce schedule, run by the same
// runner.
#pragma once

#include <cstdint>

#include "comm/allreduce/schedule.h"

namespace lockstep::comm {

/// Bruck's all-gather: before it block `rank` of an array of `ranks` blocks of `count` elements is this
/// rank's; after it all are there. ceil(log2 p) rounds, (p - 1) * count elements sent. Blocks lie at their
/// final places, so nothing is rotated; a run of blocks that wraps around the end is two messages. Bruck et
/// al., IEEE TPDS 8(11), 1997.
[[nodiscard]] Plan gather_plan(int rank, int ranks, std::int64_t count);

/// Binomial tree from `root`: ceil(log2 p) rounds; in round k the 2^k ranks that have the data send it on.
[[nodiscard]] Plan broadcast_plan(int rank, int ranks, int root, std::int64_t count);

/// Dissemination barrier: ceil(log2 p) rounds; element 0 of the array is sent, element 1 is overwritten.
/// Hensgen, Finkel and Manber, IJPP 17(1), 1988.
[[nodiscard]] Plan barrier_plan(int rank, int ranks);

}  // namespace lockstep::comm
