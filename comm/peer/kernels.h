// The kernels of `peer` sums. All sum in f32 (f64 and i32 in their own type) in the balanced tree over ranks
// that other schedules use, and round once.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "comm/peer/board.h"
#include "core/dtype.h"

namespace lockstep::comm {

/// True for the types that the kernels add.
[[nodiscard]] bool peer_summable(Dtype dtype) noexcept;

/// data = sum over ranks of `data`, which needs not be mapped: every rank writes its array to everyone's
/// board. At most kMostLineBytes.
void launch_one_shot(const Call& call, Dtype dtype, void* data, std::int64_t count, cudaStream_t on);
/// The same over arrays that all ranks map, at 16-byte boundaries: rank r reads chunk r of everyone and
/// writes the sum to everyone.
void launch_two_shot(const Call& call, Dtype dtype, const Arrays& arrays, std::int64_t count, int blocks,
                     cudaStream_t on);
/// arrays.of[call.rank] = sum over ranks of `count` elements at arrays.of[rank], all on this GPU.
void launch_local_sum(const Call& call, Dtype dtype, const Arrays& arrays, std::int64_t count, int blocks,
                      cudaStream_t on);
/// Around an operation made of copies: ends on no rank before it began on every rank.
void launch_begin(const Call& call, cudaStream_t on);
void launch_end(const Call& call, cudaStream_t on);
/// Tells all peers that a segment has arrived there; waits until a segment of each has arrived here. In order
/// within a lane.
void launch_tell(const Call& call, int lane, cudaStream_t on);
void launch_take(const Call& call, int lane, cudaStream_t on);

}  // namespace lockstep::comm
