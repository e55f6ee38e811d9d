// The table of operations, which fusions are worth it, and feeding and reading of values.
#include "models/ops/cuda/backend.h"

#include <spdlog/fmt/fmt.h>

#include <variant>

#include "core/cuda/cuda.h"
#include "core/error.h"
#include "models/ops/cuda/convert.h"
#include "models/ops/cuda/kernels.h"

namespace lockstep::models {
namespace {

using namespace cuda;
using lockstep::cuda::check;
using lockstep::cuda::native;

std::unique_ptr<Kernel> make(const Relu&, const Site& s) { return make_activation(s); }
std::unique_ptr<Kernel> make(const LeakyRelu&, const Site& s) { return make_activation(s); }
std::unique_ptr<Kernel> make(const Gelu&, const Site& s) { return make_activation(s); }
template <class Op>
std::unique_ptr<Kernel> make(const Op&, const Site& s) {
  throw Error(Fault::config, fmt::format("node '{}' ({}): the cuda backend has no such operation",
                                         s.request.node->name, op_name(s.request.node->spec)));
}

/// Fused requests that a kernel of this backend runs as one.
bool accepts(const KernelRequest& /*request*/) { return false; }

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const BackendOptions& options) : options_(options) {}

  [[nodiscard]] std::string_view name() const noexcept override { return "cuda"; }
  [[nodiscard]] Device device() const noexcept override { return options_.device; }

  [[nodiscard]] std::unique_ptr<Kernel> make(const KernelRequest& request) override {
    if (!request.fused.empty() && !accepts(request)) return nullptr;
    const Site site{request, options_};
    return std::visit([&](const auto& op) { return models::make(op, site); }, request.node->spec);
  }

  [[nodiscard]] TensorLayout input_layout(const ValueSpec& value) const override {
    const bool target = value.name == "target";
    return activation(value.shape, value.dtype == Dtype::f32 && !target ? options_.compute : value.dtype);
  }

  void upload(const void* host, const TensorLayout& layout, void* stored, Stream& stream) override {
    const cudaStream_t on = native(stream);
    const std::size_t bytes = static_cast<std::size_t>(layout.shape.count()) * 4;  // i32 and f32 alike
    if (layout.dtype == Dtype::i32 || (layout.dtype == Dtype::f32 && !layout.storage)) {
      check(cudaMemcpyAsync(stored, host, bytes, cudaMemcpyHostToDevice, on), "cudaMemcpyAsync");
      return;
    }
    float* dense = staging(bytes, stream);
    check(cudaMemcpyAsync(dense, host, bytes, cudaMemcpyHostToDevice, on), "cudaMemcpyAsync");
    store_dense(dense, layout, stored, options_.device, on);
  }

  void download(const void* stored, const TensorLayout& layout, void* host, Stream& stream) override {
    const cudaStream_t on = native(stream);
    const std::size_t bytes = static_cast<std::size_t>(layout.shape.count()) * sizeof(float);
    float* dense = staging(bytes, stream);
    load_dense(stored, layout, dense, options_.device, on);
    check(cudaMemcpyAsync(host, dense, bytes, cudaMemcpyDeviceToHost, on), "cudaMemcpyAsync");
  }

  void add_mean_loss(const void* losses, const TensorLayout& layout, float* sum, Stream& stream) override {
    add_mean(static_cast<const float*>(losses), layout.shape.count(), sum, native(stream));
  }

 private:
  /// Dense f32 on the GPU for conversions, in stream order.
  float* staging(std::size_t bytes, Stream& stream) {
    if (bytes > staging_.bytes()) {
      stream.synchronize();
      staging_ = allocate(options_.device, bytes);
    }
    return static_cast<float*>(staging_.data());
  }

  BackendOptions options_;
  Memory staging_;
};

}  // namespace

std::unique_ptr<Backend> make_cuda_backend(const BackendOptions& given) {
  BackendOptions options = given;
  options.device.kind = DeviceKind::cuda;
  if (options.compute != Dtype::f32 && options.compute != Dtype::bf16 && options.compute != Dtype::f16)
    throw Error(Fault::config, fmt::format("the cuda backend computes in f32, bf16 or f16, not {}",
                                           name_of(options.compute)));
  lockstep::cuda::use(options.device);
  return std::make_unique<CudaBackend>(options);
}

}  // namespace lockstep::models
