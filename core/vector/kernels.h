// What a device offers to core/vector: one function per primitive of vector.h, under the same contract.
// Arguments have been checked: counts and devices agree and the dtypes are among those that vector.h names.
#pragma once

#include "core/flat_span.h"
#include "core/stream.h"

namespace lockstep::vector {

struct Kernels {
  void (*fill)(FlatSpan x, float value, Stream& stream);
  void (*cast)(FlatSpan from, FlatSpan to, Stream& stream);
  void (*sum)(FlatSpan left, FlatSpan right, FlatSpan out, Stream& stream);
  void (*axpy)(float factor, FlatSpan x, FlatSpan y, Stream& stream);
  void (*scale)(float factor, FlatSpan x, Stream& stream);
  void (*sum_of_squares)(FlatSpan x, FlatSpan result, Stream& stream);
  void (*count_nonfinite)(FlatSpan x, FlatSpan result, Stream& stream);
};

}  // namespace lockstep::vector
