// Token embeddings (a row of the weight per id) and learned positions (a row per position).
#include <spdlog/fmt/fmt.h>

#include "core/error.h"
#include "models/ops/reference/kernel_base.h"
#include "models/ops/reference/kernels.h"

namespace lockstep::models::reference {
namespace {

template <class T>
class EmbeddingKernel final : public ReferenceKernel<T> {
 public:
  EmbeddingKernel(const Embedding& op, const KernelRequest& request)
      : ReferenceKernel<T>(request), op_(op), name_(request.node->name) {}
  [[nodiscard]] bool backward_needs_output() const override { return false; }

 private:
  [[nodiscard]] std::int64_t row_of(std::int64_t token) const {
    const std::int64_t id = this->ids(0)[token];
    if (id >= 0 && id < op_.vocabulary) return id * op_.width;
    throw Error(Fault::data,
                fmt::format("node '{}': token id {} is not in [0, {})", name_, id, op_.vocabulary),
                "use the vocabulary that the data was tokenised with");
  }
  void compute() override {
    for (std::int64_t token = 0; token < this->shape().count(); ++token) {
      const T* row = this->parameter(0) + row_of(token);
      for (std::int64_t i = 0; i < op_.width; ++i) this->y()[token * op_.width + i] = row[i];
    }
  }
  void differentiate() override {
    for (std::int64_t token = 0; token < this->shape().count(); ++token) {
      T* row = this->parameter_gradient(0) + row_of(token);
      for (std::int64_t i = 0; i < op_.width; ++i) row[i] += this->dy()[token * op_.width + i];
    }
  }

  Embedding op_;
  std::string name_;
};

template <class T>
class PositionEmbeddingKernel final : public ReferenceKernel<T> {
 public:
  PositionEmbeddingKernel(const PositionEmbedding&, const KernelRequest& request)
      : ReferenceKernel<T>(request), sample_(this->shape()[1] * this->shape()[2]) {}
  [[nodiscard]] bool backward_needs_input(int) const override { return false; }
  [[nodiscard]] bool backward_needs_output() const override { return false; }
  [[nodiscard]] bool in_place() const override { return true; }

 private:
  void compute() override {
    for (std::int64_t i = 0; i < this->shape().count(); ++i) {
      this->y()[i] = this->x()[i] + this->parameter(0)[i % sample_];
    }
  }
  void differentiate() override {
    for (std::int64_t i = 0; i < this->shape().count(); ++i) {
      this->dx()[i] += this->dy()[i];
      this->parameter_gradient(0)[i % sample_] += this->dy()[i];
    }
  }

  std::int64_t sample_;  ///< elements of one sample
};

}  // namespace

LOCKSTEP_REFERENCE_KERNEL(Embedding, EmbeddingKernel);
LOCKSTEP_REFERENCE_KERNEL(PositionEmbedding, PositionEmbeddingKernel);

}  // namespace lockstep::models::reference
