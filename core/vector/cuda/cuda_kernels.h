// The GPU's vector kernels, defined in kernels.cu.
#pragma once

#include "core/vector/kernels.h"

namespace lockstep::vector {

extern const Kernels cuda_kernels;

}  // namespace lockstep::vector
