// The host's vector kernels. Each enqueues one task that loops over the array on the stream's worker.
#pragma once

#include "core/vector/kernels.h"

namespace lockstep::vector {

void cpu_fill(FlatSpan x, float value, Stream& stream);
void cpu_cast(FlatSpan from, FlatSpan to, Stream& stream);
/// The loop of cpu_sum on the calling thread, for host work that is already in stream order.
void sum_now(FlatSpan left, FlatSpan right, FlatSpan out);
void cpu_sum(FlatSpan left, FlatSpan right, FlatSpan out, Stream& stream);
void cpu_axpy(float factor, FlatSpan x, FlatSpan y, Stream& stream);
void cpu_scale(float factor, FlatSpan x, Stream& stream);
void cpu_sum_of_squares(FlatSpan x, FlatSpan result, Stream& stream);
void cpu_count_nonfinite(FlatSpan x, FlatSpan result, Stream& stream);

inline constexpr Kernels cpu_kernels = {
    .fill = cpu_fill,
    .cast = cpu_cast,
    .sum = cpu_sum,
    .axpy = cpu_axpy,
    .scale = cpu_scale,
    .sum_of_squares = cpu_sum_of_squares,
    .count_nonfinite = cpu_count_nonfinite,
};

}  // namespace lockstep::vector
