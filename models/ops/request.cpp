#include "models/ops/request.h"

#include <spdlog/fmt/fmt.h>

#include "core/error.h"
#include "models/ops/epilogue.h"

namespace lockstep::models {

const Shape& Site::output() const {
  return request.graph->values()[static_cast<std::size_t>(last().output)].shape;
}

bool joins_product(const Node* node) {
  const Epilogue epilogue = epilogue_of(node->spec);
  return epilogue.activation != Activation::none && epilogue.slope >= 0;
}

bool joins_batch_norm(std::span<const Node* const> fused) {
  if (fused.size() == 1) return is<Relu>(fused[0]) || is<Add>(fused[0]);
  return fused.size() == 2 && is<Add>(fused[0]) && is<Relu>(fused[1]);
}

void check_last_axis(const KernelRequest& request, std::string_view backend) {
  const bool last_axis =
      is<Linear>(request.node) || is<TiedLinear>(request.node) || is<LayerNorm>(request.node);
  if (!last_axis || request.inputs.front().shape.rank() != 4) return;
  throw Error(Fault::config,
              fmt::format("node '{}' ({}): the {} backend does not run it over the last axis of an image {}",
                          request.node->name, op_name(request.node->spec), backend,
                          request.inputs.front().shape.text()),
              "flatten the image first");
}

}  // namespace lockstep::models
