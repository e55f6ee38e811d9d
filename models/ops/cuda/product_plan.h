// The inside of a product: cuBLASLt's descriptors and the algorithm. For product*.cpp.
#pragma once

#include <cublasLt.h>

#include <memory>
#include <vector>

#include "models/ops/cuda/product.h"

namespace lockstep::models::cuda {

/// Throws Fault::device naming the call.
void check_lt(cublasStatus_t status, const char* call);
/// One per device, for the life of the process.
[[nodiscard]] cublasLtHandle_t lt_handle(Device device);

template <class Handle, cublasStatus_t (*destroy)(Handle)>
struct LtDeleter {
  using pointer = Handle;
  void operator()(Handle handle) const { static_cast<void>(destroy(handle)); }
};
using LtMatmul =
    std::unique_ptr<cublasLtMatmulDescOpaque_t, LtDeleter<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>>;
using LtLayout = std::unique_ptr<cublasLtMatrixLayoutOpaque_t,
                                 LtDeleter<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>>;

struct Product::Plan {
  ProductSpec spec;
  ProductPolicy policy;
  LtMatmul matmul;
  LtLayout a, b, c;  ///< as cuBLASLt sees them: `a` is our b, `b` our a
  cublasLtMatmulAlgo_t algorithm;

  Plan(const ProductSpec& what, const ProductPolicy& how);
  void run(const Operands& operands, const cublasLtMatmulAlgo_t& with, void* workspace,
           cudaStream_t stream) const;
  /// What cuBLASLt suggests, best guess first.
  [[nodiscard]] std::vector<cublasLtMatmulAlgo_t> candidates(int most) const;
};

/// The fastest candidate, measured on made-up operands; the first where there is no memory for them.
[[nodiscard]] cublasLtMatmulAlgo_t fastest(const Product::Plan& plan,
                                           const std::vector<cublasLtMatmulAlgo_t>& candidates);

}  // namespace lockstep::models::cuda
