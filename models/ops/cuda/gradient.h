// Where a slot's gradient goes: f32, or bf16 when BackendOptions::gradients says so. Kernels sum in f32 and
// round once.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/flat_span.h"

namespace lockstep::models::cuda {

struct On;

struct GradientSlot {
  void* data = nullptr;
  bool narrow = false;  ///< bf16
  bool add = false;     ///< to what is there

  [[nodiscard]] Dtype dtype() const { return narrow ? Dtype::bf16 : Dtype::f32; }
};

/// to (+)= from, element by element; `dtype` is that of `from`. Enqueues.
void put_gradient(const void* from, Dtype dtype, const GradientSlot& to, std::int64_t count, const On& on);

}  // namespace lockstep::models::cuda
