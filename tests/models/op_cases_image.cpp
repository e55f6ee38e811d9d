// Cases of activations, pools, and the operations that only move elements.
#include "op_cases.h"

namespace lockstep::models::testing {

std::vector<OpCase> activation_cases() {
  std::vector<OpCase> cases;
  const std::vector<std::pair<std::string, OpSpec>> specs{
      {"relu", Relu{}},          {"leaky", LeakyRelu{0.1F}},  {"leaky_negative", LeakyRelu{-0.2F}},
      {"gelu_tanh", Gelu{true}}, {"gelu_exact", Gelu{false}}, {"dropout", Dropout{0.3F}},
      {"no_dropout", Dropout{0}}};
  for (const auto& [name, spec] : specs) {
    cases.push_back(on_image(name + "_image", {7, 3, 5}, spec));
    cases.push_back(on_sequence(name + "_sequence", {5, 17}, spec));
    cases.push_back(on_sequence(name + "_rows", {33}, spec));
  }
  return cases;
}

std::vector<OpCase> pooling_cases() {
  std::vector<OpCase> cases;
  for (std::int64_t c : {1, 3, 16, 17}) {
    const std::string n = std::to_string(c);
    cases.push_back(on_image("max_pool_" + n, {c, 6, 8}, MaxPool{}));
    cases.push_back(on_image("max_pool_overlap_" + n, {c, 7, 9}, MaxPool{{3, 3}, {2, 2}, {1, 1}}));
    cases.push_back(on_image("average_pool_" + n, {c, 6, 8}, AveragePool{}));
    cases.push_back(
        on_image("average_pool_padded_" + n, {c, 7, 9}, AveragePool{{3, 3}, {2, 2}, {1, 1}, true}));
    cases.push_back(
        on_image("average_pool_inside_" + n, {c, 7, 9}, AveragePool{{3, 3}, {2, 2}, {1, 1}, false}));
    cases.push_back(on_image("global_pool_" + n, {c, 5, 7}, GlobalAveragePool{}));
  }
  cases.push_back(on_image("max_pool_oblong", {4, 9, 8}, MaxPool{{1, 3}, {2, 1}, {0, 1}}));
  return cases;
}

std::vector<OpCase> moving_cases() {
  std::vector<OpCase> cases;
  cases.push_back(on_image("flatten_image", {7, 3, 5}, Flatten{}));
  cases.push_back(on_image("flatten_grey", {1, 3, 5}, Flatten{}));
  cases.push_back(on_sequence("flatten_sequence", {4, 6}, Flatten{}));
  cases.push_back(on_image("shortcut_a", {4, 6, 7}, ShortcutA{.out_channels = 10, .stride = 2}));
  cases.push_back(on_image("shortcut_a_same", {3, 4, 4}, ShortcutA{.out_channels = 3, .stride = 1}));
  for (std::int64_t scale : {1, 2, 4})
    cases.push_back(on_image("resize_" + std::to_string(scale), {3, 4, 5}, Resize{scale}));
  cases.push_back({"add_to_itself", [](GraphBuilder& b) {
                     const int x = image_behind_parameters(b, {3, 4, 5});
                     b.predict(b.apply(Add{}, {x, x}, "op"));
                     b.loss(MeanSquaredError{});
                   }});
  cases.push_back({"add_and_use_again", [](GraphBuilder& b) {
                     const int x = image_behind_parameters(b, {3, 4, 5});
                     const int y = b.conv2d(x, "conv", {.out_channels = 3, .padding = {1, 1}}, {});
                     const int z = b.apply(Add{}, {x, y}, "op");
                     b.predict(b.apply(Concat{}, {b.apply(Relu{}, {z}, "relu"), z, x}, "join"));
                     b.loss(MeanSquaredError{});
                   }});
  cases.push_back({"concat_images", [](GraphBuilder& b) {
                     const int x = image_behind_parameters(b, {3, 4, 5});
                     const int y = b.conv2d(x, "conv", {.out_channels = 7, .kernel = {1, 1}}, {});
                     b.predict(b.apply(Concat{}, {x, y, x}, "op"));
                     b.loss(SmoothL1{});
                   }});
  cases.push_back({"concat_sequences", [](GraphBuilder& b) {
                     const int x = sequence_behind_parameters(b, {3, 6});
                     b.predict(b.apply(Concat{}, {x, b.apply(Gelu{}, {x}, "gelu")}, "op"));
                     b.loss(MeanSquaredError{});
                   }});
  return cases;
}

}  // namespace lockstep::models::testing
