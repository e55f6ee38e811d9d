// Makers of the reference kernels, one per operation, in float and double.
#pragma once

#include <memory>

#include "models/ops/kernel.h"

namespace lockstep::models::reference {

using KernelPtr = std::unique_ptr<Kernel>;

// clang-format off
template <class T> KernelPtr make(const Conv2d& op, const KernelRequest& request);
template <class T> KernelPtr make(const ConvTranspose2d& op, const KernelRequest& request);
template <class T> KernelPtr make(const LayerNorm& op, const KernelRequest& request);
template <class T> KernelPtr make(const Linear& op, const KernelRequest& request);
template <class T> KernelPtr make(const TiedLinear& op, const KernelRequest& request);
template <class T> KernelPtr make(const Relu& op, const KernelRequest& request);
template <class T> KernelPtr make(const LeakyRelu& op, const KernelRequest& request);
template <class T> KernelPtr make(const Gelu& op, const KernelRequest& request);
template <class T> KernelPtr make(const MaxPool& op, const KernelRequest& request);
template <class T> KernelPtr make(const AveragePool& op, const KernelRequest& request);
template <class T> KernelPtr make(const GlobalAveragePool& op, const KernelRequest& request);
template <class T> KernelPtr make(const Dropout& op, const KernelRequest& request);
template <class T> KernelPtr make(const Embedding& op, const KernelRequest& request);
template <class T> KernelPtr make(const PositionEmbedding& op, const KernelRequest& request);
template <class T> KernelPtr make(const CausalAttention& op, const KernelRequest& request);
template <class T> KernelPtr make(const Add& op, const KernelRequest& request);
template <class T> KernelPtr make(const Concat& op, const KernelRequest& request);
template <class T> KernelPtr make(const ShortcutA& op, const KernelRequest& request);
template <class T> KernelPtr make(const Flatten& op, const KernelRequest& request);
template <class T> KernelPtr make(const Resize& op, const KernelRequest& request);
template <class T> KernelPtr make(const SoftmaxCrossEntropy& op, const KernelRequest& request);
template <class T> KernelPtr make(const MeanSquaredError& op, const KernelRequest& request);
template <class T> KernelPtr make(const SmoothL1& op, const KernelRequest& request);
// clang-format on

/// Batch norm also needs the sum over ranks: `options` must outlive the kernel.
template <class T>
KernelPtr make_batch_norm(const BatchNorm& op, const KernelRequest& request, const BackendOptions& options);

/// Defines make() of `Op` as `KernelType<T>(op, request)` for both element types.
#define LOCKSTEP_REFERENCE_KERNEL(Op, KernelType)                  \
  template <class T>                                               \
  KernelPtr make(const Op& op, const KernelRequest& request) {     \
    return std::make_unique<KernelType<T>>(op, request);           \
  }                                                                \
  template KernelPtr make<float>(const Op&, const KernelRequest&); \
  template KernelPtr make<double>(const Op&, const KernelRequest&)

}  // namespace lockstep::models::reference
