// safetensors (Hugging Face): eight bytes of header length, a JSON header with type, shape and offsets of
// each tensor, then the bytes of all tensors without gaps, little-endian.
#pragma once

#include <string>

#include "trainer/named_tensors.h"

namespace lockstep::trainer {

/// True when the file starts like a safetensors file. False for anything else, missing files included.
[[nodiscard]] bool looks_like_safetensors(const std::string& path);

/// Reads every tensor; F16, BF16, F64 are converted, other types keep only type and shape. Throws
/// Fault::checkpoint naming the file and what is wrong: missing, truncated, foreign, inconsistent.
[[nodiscard]] NamedTensors read_safetensors(const std::string& path);

/// Writes F32, names in order, aside and then renamed, so a failure leaves no partial file. Throws
/// Fault::checkpoint naming the file and the system's reason.
void write_safetensors(const std::string& path, const NamedTensors& tensors);

}  // namespace lockstep::trainer
