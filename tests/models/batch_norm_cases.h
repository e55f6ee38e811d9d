// Small graphs around a batch norm: alone, followed by a sum and a ReLU, and with statistics shared over
// ranks.
#pragma once

#include "twin.h"

namespace lockstep::models::testing {

inline Graph plain(std::int64_t channels, std::int64_t height, std::int64_t width,
                   std::int64_t microbatch = 3) {
  return make_graph(
      [=](GraphBuilder& b) {
        const int x = image_behind_parameters(b, {channels, height, width});
        b.predict(b.batch_norm(x, "op", {.epsilon = 1e-3F}));
        b.loss(MeanSquaredError{});
      },
      microbatch);
}

/// What follows the norm.
struct After {
  bool add, relu, residual_first;
};
inline Graph followed(std::int64_t channels, const After& after) {
  return make_graph(
      [=](GraphBuilder& b) {
        const int x = image_behind_parameters(b, {channels, 5, 3});
        const int z = b.conv2d(x, "conv", {.out_channels = channels, .padding = {1, 1}, .bias = false}, {});
        int y = b.batch_norm(z, "op", {.epsilon = 1e-2F});
        if (after.add)
          y = b.apply(Add{}, after.residual_first ? std::vector{x, y} : std::vector{y, x}, "add");
        if (after.relu) y = b.apply(Relu{}, {y}, "relu");
        b.predict(b.conv2d(y, "last", {.out_channels = 2, .kernel = {1, 1}}, {}));
        b.loss(MeanSquaredError{});
      },
      3);
}

inline Graph synchronised(bool tail) {
  return make_graph(
      [=](GraphBuilder& b) {
        const int x = image_behind_parameters(b, {6, 4, 3});
        int y = b.batch_norm(b.conv2d(x, "conv", {.out_channels = 6, .padding = {1, 1}}, {}), "op",
                             {.epsilon = 1e-2F, .synchronised = true});
        if (tail) y = b.apply(Relu{}, {b.apply(Add{}, {y, x}, "add")}, "relu");
        b.predict(y);
        b.loss(MeanSquaredError{});
      },
      3);
}

}  // namespace lockstep::models::testing
