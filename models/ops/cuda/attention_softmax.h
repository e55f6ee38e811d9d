// The softmax between the two products of attention, forward and backward, on the scores of several heads:
// those of one sample or one head of every sample, [many, time, time] in f32. A warp works on a row.
#pragma once

#include <cuda_runtime_api.h>

#include "core/device.h"
#include "core/dtype.h"
#include "models/ops/cuda/drops.cuh"

namespace lockstep::models::cuda {

struct ScoreRows {
  std::int64_t many, time;
  bool samples;        ///< the many are samples, of one head; else heads of one sample
  std::int64_t other;  ///< that head; else that sample of the microbatch
  Dtype dtype;         ///< of probabilities and of the scores' gradient
};

/// log(sum(exp(scores))) of a row in two parts.
struct LogSum {
  float peak, log_sum;
};

/// probabilities = dropped softmax of each row's first columns, 0 behind the diagonal; keeps the log-sums.
/// The memory may be that of the scores when probabilities are f32.
void causal_softmax(const float* scores, void* probabilities, LogSum* sums, const ScoreRows& rows,
                    const Drops& drops, cudaStream_t stream);
/// The same from kept log-sums.
void causal_probabilities(const float* scores, void* probabilities, const LogSum* sums, const ScoreRows& rows,
                          const Drops& drops, cudaStream_t stream);
/// gradient = P (d - sum(P d)) with P the undropped probabilities and d the dropped gradient of P.
void causal_gradient(const float* scores, const float* probability_gradient, void* gradient,
                     const LogSum* sums, const ScoreRows& rows, const Drops& drops, cudaStream_t stream);

}  // namespace lockstep::models::cuda
