// The few flat-array primitives that several rooms need. All enqueue on the stream and return; spans must
// stay valid until the work has run, have equal counts where two meet, and live on the stream's device (else
// the call throws). Sums run in an order fixed by the count: equal bits on every rank and instruction set.
#pragma once

#include <cstdint>

#include "core/flat_span.h"
#include "core/stream.h"

namespace lockstep::vector {

/// x = value (any float dtype; integers take the truncated value).
void fill(FlatSpan x, float value, Stream& stream);
/// to = from, converting between f64, f32, bf16 and f16 by way of f32; equal dtypes copy bits. Same count;
/// may not overlap.
void cast(FlatSpan from, FlatSpan to, Stream& stream);
/// y = y + x in y's dtype (f64, f32, bf16, f16 added in f32; i32, i64 wrap).
void add(FlatSpan x, FlatSpan y, Stream& stream);
/// out = left + right, as a schedule needs it: `received` and `mine` are added lower rank first. `out` may be
/// one of the operands; a partial overlap may not.
void sum(FlatSpan left, FlatSpan right, FlatSpan out, Stream& stream);
/// y = y + factor * x (f32).
void axpy(float factor, FlatSpan x, FlatSpan y, Stream& stream);
/// x = factor * x (f32).
void scale(float factor, FlatSpan x, Stream& stream);
/// *result = sum of squares in double, by fixed blocks. `result` points to one f64 on the device.
void sum_of_squares(FlatSpan x, FlatSpan result, Stream& stream);
/// *result (one i64) = number of elements that are NaN or infinite.
void count_nonfinite(FlatSpan x, FlatSpan result, Stream& stream);

}  // namespace lockstep::vector
