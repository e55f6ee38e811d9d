// The GPU's kernels for compressors; see comm/compress/kernels.h for what each does. And the loops of its
// codecs: formats and bytes are the host's (codes.h, payload.h).
#pragma once

#include "comm/compress/kernels.h"
#include "comm/compress/payload.h"

namespace lockstep::comm {

void cuda_settle(FlatSpan settled, FlatSpan current, FlatSpan verdict, Stream& stream);
void cuda_accept(const std::int32_t* skip, FlatSpan verdict, Stream& stream);
void cuda_add_residual(FlatSpan gradient, FlatSpan residual, FlatSpan values, float factor, FlatSpan verdict,
                       FlatSpan bad, Stream& stream);
void cuda_scaled(FlatSpan from, FlatSpan to, float factor, FlatSpan bad, Stream& stream);
void cuda_clear_if(FlatSpan x, FlatSpan flag, Stream& stream);
void cuda_select(FlatSpan values, Runs runs, FlatSpan indices, Stream& stream);
void cuda_pick(FlatSpan values, FlatSpan indices, FlatSpan picked, Stream& stream);
void cuda_clear_at(FlatSpan values, FlatSpan indices, Stream& stream);
void cuda_place(FlatSpan placed, FlatSpan indices, FlatSpan values, Stream& stream);
void cuda_draw(Runs runs, std::uint32_t key, FlatSpan indices, Stream& stream);
void cuda_add_at(FlatSpan picked, FlatSpan indices, FlatSpan values, float factor, Stream& stream);
void cuda_to_bitmap(FlatSpan indices, FlatSpan words, Stream& stream);
void cuda_from_bitmap(FlatSpan words, Runs runs, FlatSpan indices, Stream& stream);
void cuda_times_right(FlatSpan values, Matrix matrix, FlatSpan q, FlatSpan p, int rank, Stream& stream);
void cuda_times_left(FlatSpan values, Matrix matrix, FlatSpan p, FlatSpan q, int rank, Stream& stream);
void cuda_orthonormalise(FlatSpan p, std::int64_t rows, int rank, Stream& stream);
void cuda_add_product(FlatSpan p, FlatSpan q, int rank, float factor, bool keep, FlatSpan values,
                      Matrix matrix, Stream& stream);
void cuda_revive(FlatSpan q, FlatSpan spare, std::int64_t rows, int rank, Stream& stream);
void cuda_largest_magnitudes(FlatSpan values, Runs runs, FlatSpan out, Stream& stream);
void cuda_mean_magnitudes(FlatSpan values, Runs runs, FlatSpan out, Stream& stream);
void cuda_scale_runs(FlatSpan values, Runs runs, FlatSpan factors, Stream& stream);
void cuda_grid_steps(FlatSpan everyones, Grid grid, FlatSpan steps, Stream& stream);
void cuda_to_grid(FlatSpan values, Runs runs, FlatSpan steps, Grid grid, std::uint32_t key, FlatSpan codes,
                  Stream& stream);
void cuda_from_grid(FlatSpan codes, Runs runs, FlatSpan steps, Grid grid, int ranks, FlatSpan mean,
                    Stream& stream);

/// Payloads that one call decodes: out = factor * (out, when it adds, + what each decodes to, in order).
template <class Wire>
struct CudaPayloads {
  static constexpr int kMost = 8;
  Wire of[kMost] = {};
  int count = 0;
  bool add = false;
  float factor = 1;
};

/// OwnerTurn for a kernel.
template <class Wire>
struct CudaOwner {
  static constexpr int kMost = 8;
  Wire wires[kMost] = {};
  Wire targets[kMost] = {};
  int ranks = 0, owner = 0, wanted = 0;  ///< `wanted`: targets
  float share = 1, factor = 1;
};

/// Codes of single values; `residual` may be empty.
struct CudaElementLoops {
  int bytes = 2;  ///< of a code
  void (*encode)(FlatSpan values, void* codes, FlatSpan residual, std::uint32_t key, Stream& stream);
  void (*decode)(const CudaPayloads<const void*>& wires, FlatSpan out, Stream& stream);
  /// See Codec; null: not straight.
  void (*push)(FlatSpan values, void* codes, FlatSpan nonfinite, Stream& stream) = nullptr;
  void (*own)(const CudaOwner<void*>& turn, FlatSpan values, FlatSpan nonfinite, Stream& stream) = nullptr;
};
extern const CudaElementLoops cuda_bf16_loops, cuda_fp16_loops, cuda_power_loops;

/// Blocks with one scale each.
struct CudaBlockLoops {
  BlockShape shape;
  void (*encode)(FlatSpan values, BlockShape::Places wire, FlatSpan residual, const BlockFormat& format,
                 std::uint32_t key, Stream& stream);
  void (*decode)(const CudaPayloads<BlockShape::Places>& wires, FlatSpan out, const BlockFormat& format,
                 Stream& stream);
  /// See Codec, for formats without rotation or anything random; null: not straight.
  void (*push)(FlatSpan values, BlockShape::Places wire, const BlockFormat& format, FlatSpan nonfinite,
               Stream& stream) = nullptr;
  void (*own)(const CudaOwner<BlockShape::Places>& turn, FlatSpan values, const BlockFormat& format,
              FlatSpan nonfinite, Stream& stream) = nullptr;
};
void push_int8(FlatSpan values, BlockShape::Places wire, const BlockFormat& format, FlatSpan nonfinite,
               Stream& stream);
void own_int8(const CudaOwner<BlockShape::Places>& turn, FlatSpan values, const BlockFormat& format,
              FlatSpan nonfinite, Stream& stream);
extern const CudaBlockLoops cuda_int8_loops, cuda_int4_loops, cuda_sign_loops, cuda_vote_loops,
    cuda_ternary_loops;

}  // namespace lockstep::comm
