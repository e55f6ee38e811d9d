// The GPU's vector kernels: the table is in kernels.cu, reductions in reduce.cu.
#pragma once

#include "core/vector/kernels.h"

namespace lockstep::vector {

void cuda_sum_of_squares(FlatSpan x, FlatSpan result, Stream& stream);
void cuda_count_nonfinite(FlatSpan x, FlatSpan result, Stream& stream);

extern const Kernels cuda_kernels;

}  // namespace lockstep::vector
