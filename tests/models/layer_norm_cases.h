// Layer norms of many rows, behind parameters; the gradient of what is normalised is a sum where it also goes
// around the norm.
#pragma once

#include "twin.h"

namespace lockstep::models::testing {

inline Graph layer_norms(std::int64_t width, std::int64_t rows_per_sample) {
  return make_graph(
      [=](GraphBuilder& b) {
        const int tokens = b.input({rows_per_sample}, Dtype::i32);
        int x = b.embedding(tokens, "tokens", {.vocabulary = 5, .width = width}, {});
        x = b.position_embedding(x, "positions", {.context = rows_per_sample}, {});
        const int inner = b.layer_norm(x, "inner", {.epsilon = 1e-3F});
        b.predict(b.layer_norm(b.apply(Add{}, {x, inner}, "around"), "outer"));
        b.loss(MeanSquaredError{});
      },
      4);
}

}  // namespace lockstep::models::testing
