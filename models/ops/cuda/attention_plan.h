// One shape of causal attention by cuDNN's fused kernels, forward and backward.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "core/device.h"
#include "core/dtype.h"
#include "models/ops/cuda/attention.h"

namespace lockstep::models::cuda {

/// What a plan's tensors are called. q, k, v and their gradients are heads in rows of 3 width elements, y and
/// its gradient in rows of `width`; stats [samples, heads, time] are f32. The mask [samples, heads, time,
/// time] is 0 or the factor of kept elements, in the dtype of q.
enum AttentionTensor : std::int64_t { kQ = 1, kK, kV, kY, kStats, kDy, kDq, kDk, kDv, kMask };
using AttentionTensors = std::unordered_map<std::int64_t, void*>;

struct AttentionPlanSpec {
  AttentionShape shape;
  Dtype dtype;
  bool training, repeatable;
  float dropout;  ///< 0: no mask
  Device device;
};

class AttentionPlan {
 public:
  virtual ~AttentionPlan() = default;
  [[nodiscard]] virtual std::size_t workspace_bytes() const = 0;
  virtual void forward(AttentionTensors& tensors, void* workspace, cudaStream_t stream) = 0;
  /// Of plans for training.
  virtual void backward(AttentionTensors& tensors, void* workspace, cudaStream_t stream) = 0;
};

/// Null where cuDNN has no kernel for it. Equal plans of a thread are one.
[[nodiscard]] std::shared_ptr<AttentionPlan> attention_plan(const AttentionPlanSpec& spec);

}  // namespace lockstep::models::cuda
