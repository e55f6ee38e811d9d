// The kernels of `peer` sums. All sum in f32 (f64 and i32 in their own type) in the balanced tree over ranks
// that other schedules use, and round once.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "comm/allreduce/schedule.h"
#include "comm/peer/board.h"
#include "core/dtype.h"

namespace lockstep::comm {

/// True for the types that the kernels add.
[[nodiscard]] bool peer_summable(Dtype dtype) noexcept;

/// data = sum over ranks of `data`, which needs not be mapped: every rank writes its array to everyone's
/// board. At most kMostLineBytes.
void launch_one_shot(const Call& call, Dtype dtype, void* data, std::int64_t count, cudaStream_t on);
/// The same for arrays that all ranks map, at 16-byte boundaries: rank r adds chunk r of the whole 16-byte
/// packs (the last rank also what is behind them) and writes the sum to everyone's array.
void launch_two_shot(const Call& call, Dtype dtype, const Arrays& arrays, std::int64_t count, int blocks,
                     cudaStream_t on);
/// Elements of `range`, which begins at a 16-byte boundary, of `to` = their sum over all sources. Meets
/// nobody: the sources must be here.
void launch_add(const Call& call, Dtype dtype, const Arrays& sources, void* to, Range range, int blocks,
                cudaStream_t on);
/// Ends on no rank before it began on every rank; what was enqueued before it is seen by all behind it.
void launch_meet(const Call& call, cudaStream_t on);

}  // namespace lockstep::comm
