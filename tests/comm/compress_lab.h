// One slot of a few values, averaged by one compressor for some steps on ranks that are threads.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "comm/compress/options.h"
#include "core/shape.h"
#include "core/state.h"

namespace lockstep::comm::compress {

using Values = std::vector<float>;
using Gradient = std::function<Values(int rank, std::int64_t step)>;

struct Lab {
  Shape shape{32, 32};
  std::string compressor;
  std::vector<std::pair<std::string, std::string>> settings;
  std::string schedule = "ring";
  int steps = 1;
  float rate = 1;
  float scale = 1;
  MomentumKind momentum_kind = MomentumKind::none;
  float momentum = 0;
  bool nesterov = false;
  std::int64_t exact_steps = 0;
};

/// What rank 0 held after the last step (the sum over ranks), what each rank sent in it, and remembers.
struct Result {
  Values sum;
  std::vector<std::int64_t> sent_bytes;
  std::vector<StateMap> states;
  [[nodiscard]] Values residual(int rank, const Shape& shape) const { return kept("residual", rank, shape); }
  /// What a rank saved of the slot under "residual" or "owner".
  [[nodiscard]] Values kept(std::string_view scope, int rank, const Shape& shape) const {
    return StateReader(states[static_cast<std::size_t>(rank)]).scope(scope).floats("w", shape);
  }
};

[[nodiscard]] Result run(const Lab& lab, int ranks, const Gradient& gradient);

[[nodiscard]] Values normals(std::int64_t count, int rank, std::int64_t step);
[[nodiscard]] double length(const Values& x);
/// Of the gradients of step 0.
[[nodiscard]] Values true_sum(int ranks, const Gradient& gradient);
[[nodiscard]] double relative_error(const Values& seen, const Values& truth);

}  // namespace lockstep::comm::compress
