// Softmax cross-entropy over thousands of classes.
#pragma once

#include "twin.h"

namespace lockstep::models::testing {

inline Graph wide_loss(std::int64_t classes, float smoothing) {
  return make_graph(
      [=](GraphBuilder& b) {
        const int x = sequence_behind_parameters(b, {3, 6});
        b.predict(b.linear(x, "head", {.out_features = classes}, {}));
        b.loss(SoftmaxCrossEntropy{.label_smoothing = smoothing, .ignore_index = 1});
      },
      4);
}

/// With labels anywhere and with many that are ignored; with and without the prediction, in parts of a batch.
inline void expect_wide_loss(const RunSettings& settings, std::int64_t classes, double tolerance) {
  for (const float smoothing : {0.0F, 0.2F}) {
    const Graph graph = wide_loss(classes, smoothing);
    for (const std::int64_t labels : {classes, std::int64_t{3}}) {
      RunSettings run = settings;
      run.ids = labels;
      expect_agreement(graph, run, tolerance);
      run.microbatches = 2;
      run.losses_only = true;
      expect_agreement(graph, run, tolerance);
      run.rows = 3;
      expect_agreement(graph, run, tolerance);
    }
  }
}

}  // namespace lockstep::models::testing
