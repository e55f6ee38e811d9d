// The reference backend: dense tensors, one kernel per node, no fusion.
#include "models/ops/reference/backend.h"

#include <cstring>

#include "core/error.h"
#include "models/ops/reference/kernels.h"

namespace lockstep::models {
namespace {

template <class T>
class ReferenceBackend final : public Backend {
 public:
  explicit ReferenceBackend(const BackendOptions& options) : options_(options) {}

  [[nodiscard]] std::string_view name() const noexcept override { return "reference"; }
  [[nodiscard]] Device device() const noexcept override { return {}; }

  [[nodiscard]] std::unique_ptr<Kernel> make(const KernelRequest& request) override {
    if (!request.fused.empty()) return nullptr;
    if (const auto* norm = std::get_if<BatchNorm>(&request.node->spec)) {
      return reference::make_batch_norm<T>(*norm, request, options_);
    }
    return std::visit(
        [&](const auto& op) -> std::unique_ptr<Kernel> {
          if constexpr (std::is_same_v<std::decay_t<decltype(op)>, BatchNorm>) {
            return nullptr;
          } else {
            return reference::make<T>(op, request);
          }
        },
        request.node->spec);
  }

  [[nodiscard]] TensorLayout input_layout(const ValueSpec& value) const override {
    return {value.shape, value.dtype == Dtype::i32 ? Dtype::i32 : dtype_of<T>, nullptr};
  }
  void upload(const void* host, const TensorLayout& layout, void* stored, Stream& stream) override {
    const std::size_t bytes = static_cast<std::size_t>(layout.stored_count()) * size_of(layout.dtype);
    stream.host([=] { std::memcpy(stored, host, bytes); });
  }
  void download(const void* stored, const TensorLayout& layout, void* host, Stream& stream) override {
    upload(stored, layout, host, stream);
  }

 private:
  BackendOptions options_;
};

}  // namespace

template <class T>
std::unique_ptr<Backend> make_reference_backend(const BackendOptions& options) {
  if (options.compute != Dtype::f32) {
    throw Error(Fault::config, "the reference backend computes in f32 only", "set compute to f32");
  }
  return std::make_unique<ReferenceBackend<T>>(options);
}
template std::unique_ptr<Backend> make_reference_backend<float>(const BackendOptions&);
template std::unique_ptr<Backend> make_reference_backend<double>(const BackendOptions&);

}  // namespace lockstep::models
