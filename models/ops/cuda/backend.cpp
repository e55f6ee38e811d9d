// The table of operations, which fusions are worth it, and feeding and reading of values.
#include "models/ops/cuda/backend.h"

#include <spdlog/fmt/fmt.h>

#include <variant>

#include "core/cuda/cuda.h"
#include "core/error.h"
#include "models/ops/cuda/activation.cuh"
#include "models/ops/cuda/convert.h"
#include "models/ops/cuda/kernels.h"
#include "models/ops/cuda/stopwatch.h"
#include "models/ops/cuda/uploads.h"
#include "models/ops/cuda/vocabulary.h"

namespace lockstep::models {
namespace {

using namespace cuda;
using lockstep::cuda::check;
using lockstep::cuda::native;

std::unique_ptr<Kernel> make(const Linear&, const Site& s) {
  return s.request.fused.size() > 1 ? make_feed_forward(s) : make_linear(s);
}
std::unique_ptr<Kernel> make(const TiedLinear&, const Site& s) { return make_tied_linear(s); }
std::unique_ptr<Kernel> make(const LayerNorm&, const Site& s) { return make_layer_norm(s); }
std::unique_ptr<Kernel> make(const Embedding&, const Site& s) { return make_embedding(s); }
std::unique_ptr<Kernel> make(const PositionEmbedding&, const Site& s) { return make_position_embedding(s); }
std::unique_ptr<Kernel> make(const CausalAttention&, const Site& s) { return make_attention(s); }
std::unique_ptr<Kernel> make(const Dropout&, const Site& s) { return make_dropout(s); }
std::unique_ptr<Kernel> make(const Add&, const Site& s) { return make_add(s); }
std::unique_ptr<Kernel> make(const Flatten&, const Site& s) { return make_flatten(s); }
std::unique_ptr<Kernel> make(const MeanSquaredError&, const Site& s) { return make_mean_squared_error(s); }
std::unique_ptr<Kernel> make(const SmoothL1&, const Site& s) { return make_smooth_l1(s); }
std::unique_ptr<Kernel> make(const SoftmaxCrossEntropy&, const Site& s) {
  return make_softmax_cross_entropy(s);
}
std::unique_ptr<Kernel> make(const Conv2d&, const Site& s) { return make_convolution(s); }
std::unique_ptr<Kernel> make(const ConvTranspose2d&, const Site& s) { return make_convolution(s); }
std::unique_ptr<Kernel> make(const BatchNorm&, const Site& s) { return make_batch_norm(s); }
std::unique_ptr<Kernel> make(const MaxPool&, const Site& s) { return make_max_pool(s); }
std::unique_ptr<Kernel> make(const AveragePool&, const Site& s) { return make_average_pool(s); }
std::unique_ptr<Kernel> make(const GlobalAveragePool&, const Site& s) { return make_global_pool(s); }
std::unique_ptr<Kernel> make(const Concat&, const Site& s) { return make_concat(s); }
std::unique_ptr<Kernel> make(const ShortcutA&, const Site& s) { return make_shortcut_a(s); }
std::unique_ptr<Kernel> make(const Resize&, const Site& s) { return make_resize(s); }
std::unique_ptr<Kernel> make(const Relu&, const Site& s) { return make_activation(s); }
std::unique_ptr<Kernel> make(const LeakyRelu&, const Site& s) { return make_activation(s); }
std::unique_ptr<Kernel> make(const Gelu&, const Site& s) { return make_activation(s); }

/// An activation whose gradient needs the activation's output.
bool is_rectifier(const Node* node) {
  const Epilogue epilogue = epilogue_of(node->spec);
  return epilogue.activation != Activation::none && !reads_input(epilogue);
}

/// A ReLU or a residual sum (and a ReLU) into a batch norm, a ReLU into a convolution.
bool accepts_image(const KernelRequest& request) {
  const auto& fused = request.fused;
  if (is<BatchNorm>(request.node)) return joins_batch_norm(fused);
  const bool convolves = is<Conv2d>(request.node) || is<ConvTranspose2d>(request.node);
  return convolves && fused.size() == 1 && is_rectifier(fused[0]);
}

/// Fused requests that a kernel of this backend runs as one.
bool accepts(const KernelRequest& request) {
  const auto& fused = request.fused;
  if (is<Dropout>(request.node)) return fused.size() == 1 && is<Add>(fused[0]);
  if (!is<Linear>(request.node)) return accepts_image(request);
  if (fused.size() == 1) return is<Add>(fused[0]) || joins_product(fused[0]);
  return is<Gelu>(fused[0]) && is<Linear>(fused[1]) && (fused.size() == 2 || is<Add>(fused[2]));
}

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const BackendOptions& options) : options_(options), uploads_(options.device) {}

  [[nodiscard]] std::string_view name() const noexcept override { return "cuda"; }
  [[nodiscard]] Device device() const noexcept override { return options_.device; }

  [[nodiscard]] std::unique_ptr<Kernel> make(const KernelRequest& request) override {
    if (!request.fused.empty() && !accepts(request)) return nullptr;
    check_last_axis(request, name());
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
    const void* dense = uploads_.copy(stored, host, bytes, on);
    if (layout.dtype == Dtype::i32 || (layout.dtype == Dtype::f32 && !layout.storage)) {
      lockstep::cuda::copy_on_device(stored, dense, bytes, on);
    } else {
      store_dense(static_cast<const float*>(dense), layout, stored, options_.device, on);
    }
    uploads_.release(stored, on);
  }

  void download(const void* stored, const TensorLayout& layout, void* host, Stream& stream) override {
    const cudaStream_t on = native(stream);
    if (is_padded_logits(layout)) return download_padded(stored, layout, host, stream);
    const std::size_t bytes = static_cast<std::size_t>(layout.shape.count()) * sizeof(float);
    float* dense = staging(bytes, stream);
    load_dense(stored, layout, dense, options_.device, on);
    check(cudaMemcpyAsync(host, dense, bytes, cudaMemcpyDeviceToHost, on), "cudaMemcpyAsync");
  }

  void add_mean_loss(const void* losses, const TensorLayout& layout, float* sum, Stream& stream) override {
    add_mean(static_cast<const float*>(losses), layout.shape.count(), sum, native(stream));
  }

  [[nodiscard]] double seconds_of(const std::function<void()>& enqueue, Stream& stream) override {
    stream.synchronize();  // or the first kernel would wait for what was there before
    Stopwatch watch(native(stream));
    enqueue();
    return watch.stop_s();
  }

 private:
  void download_padded(const void* stored, const TensorLayout& layout, void* host, Stream& stream) {
    const Rows rows = rows_of(layout.shape);
    const TensorLayout whole{{rows.count, row_step(layout)}, layout.dtype, nullptr};
    float* dense = staging(static_cast<std::size_t>(whole.shape.count()) * sizeof(float), stream);
    load_dense(stored, whole, dense, options_.device, native(stream));
    const std::size_t width = static_cast<std::size_t>(rows.width) * sizeof(float);
    check(cudaMemcpy2DAsync(host, width, dense, static_cast<std::size_t>(row_step(layout)) * sizeof(float),
                            width, static_cast<std::size_t>(rows.count), cudaMemcpyDeviceToHost,
                            native(stream)),
          "cudaMemcpy2DAsync");
  }
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
  Uploads uploads_;
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
