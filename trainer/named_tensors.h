// Weights outside a model: fp32 tensors by name, whatever file they came from. The seam between file formats
// (safetensors, HDF5 state dicts, checkpoints) and the mapping to a model's slots.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/shape.h"

namespace lockstep::trainer {

struct NamedTensor {
  Shape shape;
  std::vector<float> values;  ///< row-major; empty when the file's type is no floating-point type
  std::string type = "F32";   ///< as the file calls it
  [[nodiscard]] bool readable() const noexcept {
    return static_cast<std::int64_t>(values.size()) == shape.count();
  }
};

using NamedTensors = std::map<std::string, NamedTensor, std::less<>>;

}  // namespace lockstep::trainer
