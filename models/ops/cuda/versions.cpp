#include "models/ops/cuda/versions.h"

#include <cublasLt.h>
#include <cudnn.h>
#include <spdlog/fmt/fmt.h>

namespace lockstep::models {

namespace {

/// Both libraries count 10000 * major + 100 * minor + patch.
std::string both(std::size_t built, std::size_t found) {
  const auto text = [](std::size_t n) { return fmt::format("{}.{}.{}", n / 10000, n / 100 % 100, n % 100); };
  return fmt::format("{}, found {}", text(built), text(found));
}

}  // namespace

std::vector<std::pair<std::string, std::string>> cuda_backend_libraries() {
  return {{"cuDNN", both(CUDNN_VERSION, cudnnGetVersion())},
          {"cuBLASLt", both(CUBLAS_VERSION, cublasLtGetVersion())}};
}

}  // namespace lockstep::models
