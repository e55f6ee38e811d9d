// Zero channels after an image's own: cuDNN's fast kernels for 16 bits want multiples of 4 or 8 channels, and
// the first convolution of a network sees 1 or 3.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "models/ops/cuda/rowwise.h"

namespace lockstep::models::cuda {

/// Rows of `width` elements become rows of `padded`; enqueues.
void pad_channels(const void* from, void* to, const Rows& rows, std::int64_t padded, Dtype dtype,
                  const On& on);
/// to (+)= the first rows.width elements of every row of `padded`; `dtype` is that of `from`.
void unpad_gradient(const void* from, Dtype dtype, float* to, const Rows& rows, std::int64_t padded, bool add,
                    const On& on);

}  // namespace lockstep::models::cuda
