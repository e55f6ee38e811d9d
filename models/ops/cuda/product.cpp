#include "models/ops/cuda/product.h"

#include <spdlog/fmt/fmt.h>

#include <array>
#include <map>
#include <mutex>
#include <utility>

#include "core/cuda/cuda.h"
#include "core/error.h"
#include "models/ops/cuda/product_plan.h"

namespace lockstep::models::cuda {
namespace {

constexpr int kCandidates = 12;  ///< of the library's suggestions, when they are timed

cudaDataType_t type_of(Dtype dtype) {
  if (dtype == Dtype::bf16) return CUDA_R_16BF;
  if (dtype == Dtype::f16) return CUDA_R_16F;
  return CUDA_R_32F;
}

LtLayout layout_of(Dtype dtype, std::int64_t rows, std::int64_t columns, std::int64_t row_step,
                   std::int64_t batch, std::int64_t batch_step) {
  cublasLtMatrixLayout_t layout = nullptr;
  // Column-major: our rows are its columns.
  check_lt(cublasLtMatrixLayoutCreate(&layout, type_of(dtype), static_cast<std::uint64_t>(columns),
                                      static_cast<std::uint64_t>(rows), row_step > 0 ? row_step : columns),
           "cublasLtMatrixLayoutCreate");
  LtLayout owned(layout);
  if (batch == 1) return owned;
  const auto count = static_cast<std::int32_t>(batch);
  check_lt(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count),
           "batch count");
  check_lt(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &batch_step,
                                            sizeof batch_step),
           "batch stride");
  return owned;
}

template <class Value>
void set(const LtMatmul& matmul, cublasLtMatmulDescAttributes_t attribute, const Value& value) {
  check_lt(cublasLtMatmulDescSetAttribute(matmul.get(), attribute, &value, sizeof value),
           "cublasLtMatmulDescSetAttribute");
}

cublasLtEpilogue_t epilogue_of(const ProductSpec& spec) {
  switch (spec.tail) {
    case Tail::relu:
      return spec.bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU;
    case Tail::gelu:
      return spec.bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
    case Tail::gelu_gradient:
      return CUBLASLT_EPILOGUE_DGELU;
    default:
      return spec.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
  }
}
bool has_beside(const ProductSpec& spec) {
  return spec.tail == Tail::gelu || spec.tail == Tail::gelu_gradient;
}

LtMatmul make_matmul(const ProductSpec& spec, const ProductPolicy& policy) {
  cublasLtMatmulDesc_t matmul = nullptr;
  const bool rounds = policy.tf32 && spec.input == Dtype::f32;
  check_lt(cublasLtMatmulDescCreate(&matmul, rounds ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
                                    CUDA_R_32F),
           "cublasLtMatmulDescCreate");
  LtMatmul owned(matmul);
  const auto transposition = [](bool transposed) { return transposed ? CUBLAS_OP_T : CUBLAS_OP_N; };
  set(owned, CUBLASLT_MATMUL_DESC_TRANSA, transposition(spec.transpose_b));
  set(owned, CUBLASLT_MATMUL_DESC_TRANSB, transposition(spec.transpose_a));
  set(owned, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue_of(spec));
  // Addresses count for their alignment only until the product runs.
  void* const somewhere = reinterpret_cast<void*>(spec.alignment);
  if (spec.bias) set(owned, CUBLASLT_MATMUL_DESC_BIAS_POINTER, somewhere);
  if (has_beside(spec)) {
    set(owned, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, somewhere);
    set(owned, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, spec.row_c > 0 ? spec.row_c : spec.n);
  }
  return owned;
}

/// Sums split over blocks in the output itself come in any order; those in scratch come in a fixed one.
constexpr std::uint32_t kReductions =
    CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE | CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE;

using Preference = std::unique_ptr<cublasLtMatmulPreferenceOpaque_t,
                                   LtDeleter<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>>;

Preference make_preference(std::size_t alignment) {
  cublasLtMatmulPreference_t preference = nullptr;
  check_lt(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
  Preference owned(preference);
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    check_lt(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value),
             "cublasLtMatmulPreferenceSetAttribute");
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{kProductWorkspace});
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, kReductions);
  const auto bytes = static_cast<std::uint32_t>(alignment);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, bytes);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, bytes);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, bytes);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, bytes);
  return owned;
}

/// Equal products of a process run the same algorithm: it is looked for once.
class Choices {
 public:
  std::optional<cublasLtMatmulAlgo_t> choose(const Product::Plan& plan) {
    const std::lock_guard lock(mutex_);
    const std::pair key(plan.spec, plan.policy);
    if (const auto known = choices_.find(key); known != choices_.end()) return known->second;
    const auto candidates = plan.candidates(plan.policy.tune ? kCandidates : 1);
    std::optional<cublasLtMatmulAlgo_t> choice;
    if (candidates.size() == 1) choice = candidates.front();
    if (candidates.size() > 1) choice = fastest(plan, candidates);
    return choices_[key] = choice;
  }

 private:
  std::mutex mutex_;
  std::map<std::pair<ProductSpec, ProductPolicy>, std::optional<cublasLtMatmulAlgo_t>> choices_;
};

Choices& choices() {
  static Choices all;
  return all;
}

}  // namespace

void check_lt(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(Fault::device, fmt::format("{}: {}", call, cublasLtGetStatusString(status)));
}

cublasLtHandle_t lt_handle(Device device) {
  static std::mutex mutex;
  static std::map<int, cublasLtHandle_t> handles;  // never destroyed: the driver may be gone by then
  const std::lock_guard lock(mutex);
  cublasLtHandle_t& handle = handles[device.index];
  if (handle == nullptr) {
    lockstep::cuda::use(device);
    check_lt(cublasLtCreate(&handle), "cublasLtCreate");
  }
  return handle;
}

Product::Plan::Plan(const ProductSpec& what, const ProductPolicy& how)
    : spec(what), policy(how), matmul(make_matmul(what, how)), algorithm{} {
  const auto& s = spec;
  a = s.transpose_b ? layout_of(s.input, s.n, s.k, s.row_b, s.batch, s.step_b)
                    : layout_of(s.input, s.k, s.n, s.row_b, s.batch, s.step_b);
  b = s.transpose_a ? layout_of(s.input, s.k, s.m, s.row_a, s.batch, s.step_a)
                    : layout_of(s.input, s.m, s.k, s.row_a, s.batch, s.step_a);
  c = layout_of(s.output, s.m, s.n, s.row_c, s.batch, s.step_c);
}

std::vector<cublasLtMatmulAlgo_t> Product::Plan::candidates(int most) const {
  const Preference preference = make_preference(spec.alignment);
  std::vector<cublasLtMatmulHeuristicResult_t> found(static_cast<std::size_t>(most));
  int count = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(lt_handle(policy.device), matmul.get(), a.get(), b.get(), c.get(),
                                     c.get(), preference.get(), most, found.data(), &count);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) return {};
  check_lt(status, "cublasLtMatmulAlgoGetHeuristic");
  std::vector<cublasLtMatmulAlgo_t> result;
  for (int i = 0; i < count; ++i) {
    const auto& each = found[static_cast<std::size_t>(i)];
    if (each.state == CUBLAS_STATUS_SUCCESS) result.push_back(each.algo);
  }
  return result;
}

void Product::Plan::run(const Operands& operands, const cublasLtMatmulAlgo_t& with, void* workspace,
                        cudaStream_t stream) const {
  if (spec.bias) set(matmul, CUBLASLT_MATMUL_DESC_BIAS_POINTER, operands.bias);
  if (has_beside(spec)) set(matmul, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, operands.beside);
  const float add = operands.added == nullptr ? 0.0F : 1.0F;
  const void* added = operands.added == nullptr ? operands.c : operands.added;
  check_lt(cublasLtMatmul(lt_handle(policy.device), matmul.get(), &operands.scale, operands.b, a.get(),
                          operands.a, b.get(), &add, added, c.get(), operands.c, c.get(), &with, workspace,
                          kProductWorkspace, stream),
           "cublasLtMatmul");
}

std::optional<Product> Product::try_make(const ProductSpec& spec, const ProductPolicy& policy) {
  lockstep::cuda::use(policy.device);
  auto plan = std::make_unique<Plan>(spec, policy);
  const auto choice = choices().choose(*plan);
  if (!choice) return std::nullopt;
  plan->algorithm = *choice;
  return Product(std::move(plan));
}

namespace {

std::string text_of(const ProductSpec& s) {
  return fmt::format("[{}, {}] x [{}, {}] in {} to {}", s.m, s.k, s.k, s.n, name_of(s.input),
                     name_of(s.output));
}

}  // namespace

Product::Product(const ProductSpec& spec, const ProductPolicy& policy) {
  auto made = try_make(spec, policy);
  if (!made)
    throw Error(Fault::device, fmt::format("cuBLASLt has no algorithm for the product {}", text_of(spec)));
  plan_ = std::move(made->plan_);
}

Product::Product(std::unique_ptr<Plan> plan) : plan_(std::move(plan)) {}
Product::Product(Product&&) noexcept = default;
Product& Product::operator=(Product&&) noexcept = default;
Product::~Product() = default;

void Product::run(const Operands& operands, void* workspace, Stream& stream) const {
  plan_->run(operands, plan_->algorithm, workspace, lockstep::cuda::native(stream));
}

}  // namespace lockstep::models::cuda
