// Matrix products of any transposition: f32 by oneDNN's sgemm (which also accumulates), bf16 by its matmul
// primitive into f32. Include it in .cpp files only.
#pragma once

#include <vector>

#include "models/ops/cpu/primitive.h"

namespace lockstep::models::cpu {

/// C[m, n] (+)= op(A) op(B), dense row-major; op transposes when the flag is set, so A is stored [m, k] or
/// [k, m]. C is f32.
template <class T>
class Product {
 public:
  struct Sizes {
    bool transpose_a, transpose_b;
    std::int64_t m, n, k;
  };
  explicit Product(const Sizes& sizes);
  [[nodiscard]] std::size_t scratch_bytes() const noexcept;
  void run(const T* a, const T* b, float* c, bool add, void* scratch);

 private:
  /// The part of the sum over k from `first` (bf16 only).
  struct Part {
    std::int64_t first = 0;
    onednn::Primitive overwrite, accumulate;
  };
  void add_part(std::int64_t first, std::int64_t k);

  Sizes sizes_;
  std::vector<Part> parts_;
  std::size_t scratch_bytes_ = 0;
};

}  // namespace lockstep::models::cpu
