// One function per ONNX operator that our operations can express; each returns the first output. Where ONNX
// is more general (any axis, batched matrices), the case is viewed as what our operation computes: a
// permutation or slice on the host, never arithmetic.
#pragma once

#include "onnx_graph.h"

namespace lockstep::models::testing {

Values run_conv(const OnnxCase& each, std::string_view backend);
Values run_conv_transpose(const OnnxCase& each, std::string_view backend);
Values run_pool(const OnnxCase& each, std::string_view backend);
Values run_global_pool(const OnnxCase& each, std::string_view backend);
Values run_gemm(const OnnxCase& each, std::string_view backend);
Values run_matmul(const OnnxCase& each, std::string_view backend);
Values run_layer_norm(const OnnxCase& each, std::string_view backend);
Values run_instance_norm(const OnnxCase& each, std::string_view backend);
Values run_concat(const OnnxCase& each, std::string_view backend);
Values run_gather(const OnnxCase& each, std::string_view backend);
Values run_attention(const OnnxCase& each, std::string_view backend);
Values run_softmax(const OnnxCase& each, std::string_view backend);
Values run_cross_entropy(const OnnxCase& each, std::string_view backend);
Values run_reduce_mean(const OnnxCase& each, std::string_view backend);
Values run_leaky_relu(const OnnxCase& each, std::string_view backend);
Values run_gelu(const OnnxCase& each, std::string_view backend);
Values run_dropout(const OnnxCase& each, std::string_view backend);
Values run_flatten(const OnnxCase& each, std::string_view backend);

}  // namespace lockstep::models::testing
