// The table of operations, which fusions are worth it, and conversion of fed and read values.
#include "models/ops/cpu/backend.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <variant>
#include <vector>

#include "core/error.h"
#include "models/ops/cpu/dnnl_compat.h"
#include "models/ops/cpu/kernels.h"
#include "models/ops/cpu/rowwise.h"
#include "models/ops/cpu/storage.h"

namespace lockstep::models {
namespace {

using namespace cpu;

std::unique_ptr<Kernel> make(const Conv2d&, const Site& s) { return make_convolution(s); }
std::unique_ptr<Kernel> make(const ConvTranspose2d&, const Site& s) { return make_convolution(s); }
std::unique_ptr<Kernel> make(const BatchNorm&, const Site& s) { return make_batch_norm(s); }
std::unique_ptr<Kernel> make(const LayerNorm&, const Site& s) { return make_layer_norm(s); }
std::unique_ptr<Kernel> make(const Linear&, const Site& s) { return make_linear(s); }
std::unique_ptr<Kernel> make(const TiedLinear&, const Site& s) { return make_tied_linear(s); }
std::unique_ptr<Kernel> make(const Relu&, const Site& s) { return make_activation(s); }
std::unique_ptr<Kernel> make(const LeakyRelu&, const Site& s) { return make_activation(s); }
std::unique_ptr<Kernel> make(const Gelu&, const Site& s) { return make_activation(s); }
std::unique_ptr<Kernel> make(const MaxPool&, const Site& s) { return make_max_pool(s); }
std::unique_ptr<Kernel> make(const AveragePool&, const Site& s) { return make_average_pool(s); }
std::unique_ptr<Kernel> make(const GlobalAveragePool&, const Site& s) { return make_global_pool(s); }
std::unique_ptr<Kernel> make(const Add&, const Site& s) { return make_add(s); }
std::unique_ptr<Kernel> make(const Concat&, const Site& s) { return make_concat(s); }
std::unique_ptr<Kernel> make(const ShortcutA&, const Site& s) { return make_shortcut_a(s); }
std::unique_ptr<Kernel> make(const Flatten&, const Site& s) { return make_flatten(s); }
std::unique_ptr<Kernel> make(const Dropout&, const Site& s) { return make_dropout(s); }
std::unique_ptr<Kernel> make(const Embedding&, const Site& s) { return make_embedding(s); }
std::unique_ptr<Kernel> make(const PositionEmbedding&, const Site& s) { return make_position_embedding(s); }
std::unique_ptr<Kernel> make(const CausalAttention&, const Site& s) { return make_attention(s); }
std::unique_ptr<Kernel> make(const Resize&, const Site& s) { return make_resize(s); }
std::unique_ptr<Kernel> make(const MeanSquaredError&, const Site& s) { return make_mean_squared_error(s); }
std::unique_ptr<Kernel> make(const SmoothL1&, const Site& s) { return make_smooth_l1(s); }
std::unique_ptr<Kernel> make(const SoftmaxCrossEntropy&, const Site& s) {
  return make_softmax_cross_entropy(s);
}

bool is_gelu(const Node* node) { return is<Gelu>(node); }

/// What fuses: an activation into a product, a residual sum into a linear layer, a ReLU or a residual sum
/// (and a ReLU) into a batch norm.
bool accepts(const KernelRequest& request) {
  const auto& fused = request.fused;
  if (is<BatchNorm>(request.node)) return joins_batch_norm(fused);
  if (fused.size() != 1) return false;
  if (is<Linear>(request.node) && is<Add>(fused[0])) return true;
  if (!joins_product(fused[0])) return false;
  if (is<Linear>(request.node)) return true;
  return (is<Conv2d>(request.node) || is<ConvTranspose2d>(request.node)) && !is_gelu(fused[0]);
}

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(const BackendOptions& options) : options_(options) {}

  [[nodiscard]] std::string_view name() const noexcept override { return "cpu"; }
  [[nodiscard]] Device device() const noexcept override { return {}; }

  [[nodiscard]] std::unique_ptr<Kernel> make(const KernelRequest& request) override {
    if (!request.fused.empty() && !accepts(request)) return nullptr;
    check_last_axis(request, name());
    const LibraryThreads threads(options_.threads);
    const Site site{request, options_};
    try {
      return std::visit([&](const auto& op) { return models::make(op, site); }, request.node->spec);
    } catch (const dnnl::error& error) {
      throw Error(Fault::config, fmt::format("node '{}' ({}): oneDNN refuses it: {}", request.node->name,
                                             op_name(request.node->spec), error.what()));
    }
  }

  [[nodiscard]] TensorLayout input_layout(const ValueSpec& value) const override {
    const bool target = value.name == "target";
    return activation(value.shape, value.dtype == Dtype::f32 && !target ? options_.compute : value.dtype);
  }

  void upload(const void* host, const TensorLayout& layout, void* stored, Stream& stream) override {
    stream.host([=, this] { convert_in(host, layout, stored); });
  }
  void download(const void* stored, const TensorLayout& layout, void* host, Stream& stream) override {
    stream.host([=, this] { convert_out(stored, layout, static_cast<float*>(host)); });
  }

 private:
  static std::size_t count(const TensorLayout& layout) {
    return static_cast<std::size_t>(layout.shape.count());
  }

  void convert_in(const void* host, const TensorLayout& layout, void* stored) const {
    if (layout.dtype == Dtype::i32) {
      std::memcpy(stored, host, count(layout) * sizeof(std::int32_t));
      return;
    }
    std::vector<float> ordered;
    const std::span dense(static_cast<const float*>(host), count(layout));
    const float* from = dense.data();
    if (layout.storage) {
      ordered.resize(dense.size());
      layout.storage->to_storage(dense, ordered);
      from = ordered.data();
    }
    if (layout.dtype == Dtype::bf16)
      store(from, static_cast<Bf16*>(stored), layout.shape.count(), false, 1);
    else
      store(from, static_cast<float*>(stored), layout.shape.count(), false, 1);
  }

  void convert_out(const void* stored, const TensorLayout& layout, float* host) const {
    std::vector<float> wide;
    const auto* from = static_cast<const float*>(stored);
    if (layout.dtype == Dtype::bf16) {
      wide.resize(count(layout));
      store(static_cast<const Bf16*>(stored), wide.data(), layout.shape.count(), false, 1);
      from = wide.data();
    }
    if (layout.storage)
      layout.storage->to_canonical({from, count(layout)}, {host, count(layout)});
    else
      std::copy(from, from + count(layout), host);
  }

  BackendOptions options_;
};

void check_bf16() {
  constexpr auto kBf16 = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_bf16);
  const auto here = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  if ((here & kBf16) == kBf16) return;
  throw Error(Fault::device, "this CPU cannot compute in bf16: it lacks AVX512-BF16",
              "set the compute dtype to f32, or run on a CPU with avx512_bf16 (Intel Cooper Lake, Sapphire "
              "Rapids; AMD Zen 4 or newer)");
}

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(const BackendOptions& options) {
  if (options.compute == Dtype::bf16) check_bf16();
  if (options.compute != Dtype::bf16 && options.compute != Dtype::f32)
    throw Error(Fault::config,
                fmt::format("the cpu backend computes in f32 or bf16, not {}", name_of(options.compute)));
  return std::make_unique<CpuBackend>(options);
}

std::string onednn_version() {
  const dnnl_version_t* version = dnnl_version();
  return fmt::format("{}.{}.{}", version->major, version->minor, version->patch);
}

}  // namespace lockstep::models
