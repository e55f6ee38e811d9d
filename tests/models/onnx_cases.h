// Single-operator cases of the ONNX backend tests, read from HDF5: one group per case.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/shape.h"

namespace lockstep::models::testing {

struct OnnxTensor {
  Shape shape;
  std::vector<double> values;  ///< of any dtype; f32 and small integers fit exactly
};

class OnnxCase {
 public:
  std::string name, op;
  std::vector<OnnxTensor> inputs, outputs;  ///< in order; inputs left out by the case are not listed

  [[nodiscard]] bool has(const std::string& attribute) const;
  [[nodiscard]] std::int64_t integer(const std::string& attribute, std::int64_t fallback) const;
  [[nodiscard]] double real(const std::string& attribute, double fallback) const;
  [[nodiscard]] std::string text(const std::string& attribute, const std::string& fallback) const;
  [[nodiscard]] std::vector<std::int64_t> integers(const std::string& attribute,
                                                   std::vector<std::int64_t> fallback) const;

  std::string attributes;  ///< JSON object
};

/// All cases of the file in name order. Throws std::runtime_error when it cannot be read.
[[nodiscard]] std::vector<OnnxCase> load_onnx_cases(const std::string& path);

}  // namespace lockstep::models::testing
