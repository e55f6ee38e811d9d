// Matrix products on cuBLASLt: a plan is made once for fixed shapes, then only runs. Matrices are row-major
// here; cuBLASLt, column-major, is told to compute the transposed product. What follows a product (bias,
// ReLU, GELU, GELU's gradient) may run inside it.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <tuple>

#include "core/device.h"
#include "core/dtype.h"
#include "core/stream.h"

namespace lockstep::models::cuda {

/// What a product does to its result before storing it. GELU is the tanh approximation: it also stores its
/// input beside; its gradient reads that.
enum class Tail : std::uint8_t { none, relu, gelu, gelu_gradient };

/// c = tail(scale op(a) op(b) + added + bias): op(a) is [m, k], op(b) [k, n], c [m, n]. Strides 0: dense.
struct ProductSpec {
  std::int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;  ///< stored as [k, m], [n, k]
  std::int64_t row_a = 0, row_b = 0, row_c = 0;   ///< elements from row to row as stored
  Dtype input = Dtype::f32, output = Dtype::f32;
  Tail tail = Tail::none;
  bool bias = false;  ///< [n] in the output's dtype
  std::int64_t batch = 1;
  std::int64_t step_a = 0, step_b = 0, step_c = 0;  ///< elements from batch to batch
  /// Bytes that every address is a multiple of.
  std::size_t alignment = 16;
  friend auto operator<=>(const ProductSpec&, const ProductSpec&) = default;
};

/// How products of a backend are planned.
struct ProductPolicy {
  Device device = {};
  bool tf32 = false;  ///< f32 operands may be rounded to TF32
  bool tune = false;  ///< time the library's candidates and keep the fastest, else its first guess
  friend auto operator<=>(const ProductPolicy& a, const ProductPolicy& b) {
    return std::tuple(a.device.index, a.tf32, a.tune) <=> std::tuple(b.device.index, b.tf32, b.tune);
  }
};

/// Scratch that every product may use, at the start of a kernel's workspace: what NVIDIA recommends for
/// Hopper.
inline constexpr std::size_t kProductWorkspace = std::size_t{32} << 20;

class Product {
 public:
  /// Throws Fault::device when cuBLASLt has no algorithm for it.
  Product(const ProductSpec& spec, const ProductPolicy& policy);
  /// Nothing when cuBLASLt has no algorithm for it: some tails exist for some shapes only.
  [[nodiscard]] static std::optional<Product> try_make(const ProductSpec& spec, const ProductPolicy& policy);
  Product(Product&&) noexcept;
  Product& operator=(Product&&) noexcept;
  ~Product();

  struct Operands {
    const void* a = nullptr;
    const void* b = nullptr;
    void* c = nullptr;
    const void* added = nullptr;  ///< laid out as c; may be c; null: nothing is added
    const void* bias = nullptr;
    void* beside = nullptr;  ///< GELU's input, laid out as c
    float scale = 1;
  };
  /// Enqueues. `workspace`: kProductWorkspace bytes.
  void run(const Operands& operands, void* workspace, Stream& stream) const;
  struct Plan;  ///< in product_plan.h

 private:
  explicit Product(std::unique_ptr<Plan> plan);
  std::unique_ptr<Plan> plan_;
};

}  // namespace lockstep::models::cuda
