// The host's kernels for compressors; see comm/compress/kernels.h for what each does.
#pragma once

#include <algorithm>
#include <cstring>

#include "comm/compress/kernels.h"

namespace lockstep::comm {

void cpu_settle(FlatSpan settled, FlatSpan current, FlatSpan verdict, Stream& stream);
void cpu_accept(const std::int32_t* skip, FlatSpan verdict, Stream& stream);
void cpu_add_residual(FlatSpan gradient, FlatSpan residual, FlatSpan values, float factor, FlatSpan verdict,
                      FlatSpan bad, Stream& stream);
void cpu_scaled(FlatSpan from, FlatSpan to, float factor, FlatSpan bad, Stream& stream);
void cpu_clear_if(FlatSpan x, FlatSpan flag, Stream& stream);
void cpu_select(FlatSpan values, Runs runs, FlatSpan indices, Stream& stream);
void cpu_pick(FlatSpan values, FlatSpan indices, FlatSpan picked, Stream& stream);
void cpu_clear_at(FlatSpan values, FlatSpan indices, Stream& stream);
void cpu_place(FlatSpan placed, FlatSpan indices, FlatSpan values, Stream& stream);
void cpu_draw(Runs runs, std::uint32_t key, FlatSpan indices, Stream& stream);
void cpu_add_at(FlatSpan picked, FlatSpan indices, FlatSpan values, float factor, Stream& stream);
void cpu_to_bitmap(FlatSpan indices, FlatSpan words, Stream& stream);
void cpu_from_bitmap(FlatSpan words, Runs runs, FlatSpan indices, Stream& stream);
void cpu_times_right(FlatSpan values, Matrix matrix, FlatSpan q, FlatSpan p, int rank, Stream& stream);
void cpu_times_left(FlatSpan values, Matrix matrix, FlatSpan p, FlatSpan q, int rank, Stream& stream);
void cpu_orthonormalise(FlatSpan p, std::int64_t rows, int rank, Stream& stream);
void cpu_add_product(FlatSpan p, FlatSpan q, int rank, float factor, bool keep, FlatSpan values,
                     Matrix matrix, Stream& stream);
void cpu_largest_magnitudes(FlatSpan values, Runs runs, FlatSpan out, Stream& stream);
void cpu_mean_magnitudes(FlatSpan values, Runs runs, FlatSpan out, Stream& stream);
void cpu_scale_runs(FlatSpan values, Runs runs, FlatSpan factors, Stream& stream);
void cpu_grid_steps(FlatSpan everyones, Grid grid, FlatSpan steps, Stream& stream);
void cpu_to_grid(FlatSpan values, Runs runs, FlatSpan steps, Grid grid, std::uint32_t key, FlatSpan codes,
                 Stream& stream);
void cpu_from_grid(FlatSpan codes, Runs runs, FlatSpan steps, Grid grid, int ranks, FlatSpan mean,
                   Stream& stream);
void cpu_revive(FlatSpan q, FlatSpan spare, std::int64_t rows, int rank, Stream& stream);

}  // namespace lockstep::comm
