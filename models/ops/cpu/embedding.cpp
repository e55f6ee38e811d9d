// Token embeddings and learned positions. Gradients of rows are added token by token in order, so they repeat
// bit for bit.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <string>

#include "core/error.h"
#include "models/ops/cpu/kernels.h"
#include "models/ops/cpu/parallel.h"
#include "models/ops/cpu/rowwise.h"

namespace lockstep::models::cpu {
namespace {

template <class T>
class EmbeddingKernel final : public CpuKernel {
 public:
  explicit EmbeddingKernel(const Site& site)
      : CpuKernel(site),
        op_(std::get<Embedding>(site.request.node->spec)),
        name_(site.request.node->name),
        tokens_(site.input().count()) {}

  [[nodiscard]] std::vector<StorageOrderPtr> parameter_storage() const override { return {nullptr}; }
  [[nodiscard]] bool backward_needs_output() const override { return false; }

 private:
  void check_ids() const {
    for (std::int64_t i = 0; i < tokens_; ++i) {
      const std::int64_t id = in<std::int32_t>()[i];
      if (id >= 0 && id < op_.vocabulary) continue;
      throw Error(Fault::data,
                  fmt::format("node '{}': token id {} is not in [0, {})", name_, id, op_.vocabulary),
                  "use the vocabulary that the data was tokenised with");
    }
  }
  void run_forward(const Pass& pass) override {
    check_ids();
    parallel_for(threads(), tokens_, [&](std::int64_t i) {
      std::copy_n(weight<T>(pass, 0) + in<std::int32_t>()[i] * op_.width, op_.width,
                  out<T>() + i * op_.width);
    });
  }
  void run_backward(const Pass& pass) override {
    float* gradient = slot(pass.gradients, 0);
    if (!pass.accumulate) std::fill(gradient, gradient + op_.vocabulary * op_.width, 0.0F);
    for (std::int64_t i = 0; i < tokens_; ++i)
      store(out_gradient<T>() + i * op_.width, gradient + in<std::int32_t>()[i] * op_.width, op_.width, true,
            1);
  }
  Embedding op_;
  std::string name_;
  std::int64_t tokens_;
};

template <class T>
class PositionKernel final : public CpuKernel {
 public:
  explicit PositionKernel(const Site& site)
      : CpuKernel(site),
        samples_(site.input()[0]),
        elements_(site.input()[1] * site.input()[2]),
        context_(std::get<PositionEmbedding>(site.request.node->spec).context * site.input()[2]) {}

  [[nodiscard]] std::vector<StorageOrderPtr> parameter_storage() const override { return {nullptr}; }
  [[nodiscard]] bool in_place() const override { return true; }
  [[nodiscard]] bool backward_needs_input(int) const override { return false; }
  [[nodiscard]] bool backward_needs_output() const override { return false; }

 private:
  void run_forward(const Pass& pass) override {
    for (std::int64_t n = 0; n < samples_; ++n) {
      T* y = out<T>() + n * elements_;
      if (in<T>() != out<T>()) store(in<T>() + n * elements_, y, elements_, false, 1);
      store(weight<T>(pass, 0), y, elements_, true, threads());
    }
  }
  void run_backward(const Pass& pass) override {
    float* gradient = slot(pass.gradients, 0);
    if (!pass.accumulate) std::fill(gradient, gradient + context_, 0.0F);
    for (std::int64_t n = 0; n < samples_; ++n)
      store(out_gradient<T>() + n * elements_, gradient, elements_, true, threads());
    if (in_gradient<T>() != nullptr && in_gradient<T>() != out_gradient<T>())
      store(out_gradient<T>(), in_gradient<T>(), samples_ * elements_, adds(), threads());
  }
  std::int64_t samples_, elements_, context_;
};

}  // namespace

std::unique_ptr<Kernel> make_embedding(const Site& site) { return make_typed<EmbeddingKernel>(site); }
std::unique_ptr<Kernel> make_position_embedding(const Site& site) { return make_typed<PositionKernel>(site); }

}  // namespace lockstep::models::cpu
