// PyTorch state dicts kept in HDF5: one dataset per tensor, named as in PyTorch, in the group `state_dict` or
// at the top of the file.
#pragma once

#include <string>

#include "trainer/named_tensors.h"

namespace lockstep::trainer {

/// Reads every dataset; those that are not floating point keep only type and shape. Throws Fault::checkpoint
/// naming the file: missing, truncated, not HDF5, or without datasets.
[[nodiscard]] NamedTensors read_state_dict(const std::string& path);

/// Writes `state_dict/*` as f32. Throws Fault::checkpoint naming the file.
void write_state_dict(const std::string& path, const NamedTensors& tensors);

}  // namespace lockstep::trainer
