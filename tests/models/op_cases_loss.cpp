// Cases of losses.
#include "op_cases.h"

namespace lockstep::models::testing {

std::vector<OpCase> loss_cases() {
  std::vector<OpCase> cases;
  for (std::int64_t classes : {5, 16, 65}) {
    for (float smoothing : {0.0F, 0.2F}) {
      const std::string n = std::to_string(classes) + (smoothing > 0 ? "_smooth" : "");
      const SoftmaxCrossEntropy loss{.label_smoothing = smoothing, .ignore_index = 3};
      cases.push_back({"cross_entropy_rows_" + n,
                       [=](GraphBuilder& b) {
                         b.predict(sequence_behind_parameters(b, {classes}));
                         b.loss(loss);
                       },
                       7});
      cases.push_back({"cross_entropy_pixels_" + n, [=](GraphBuilder& b) {
                         b.predict(image_behind_parameters(b, {classes, 3, 4}));
                         b.loss(loss);
                       }});
    }
  }
  cases.push_back({"mse_image", [](GraphBuilder& b) {
                     b.predict(image_behind_parameters(b, {3, 40, 50}));
                     b.loss(MeanSquaredError{});
                   }});
  cases.push_back({"smooth_l1_image", [](GraphBuilder& b) {
                     b.predict(image_behind_parameters(b, {3, 4, 5}));
                     b.loss(SmoothL1{0.7F});
                   }});
  return cases;
}

}  // namespace lockstep::models::testing
