// A tiny task for every model in the table, for tests that run them all.
#pragma once

#include <map>

#include "model_support.h"

namespace lockstep::models {

inline constexpr std::int64_t kMicrobatch = 2;

struct Case {
  Given given;
  Task task;
};

/// A tiny task for each row; a new row needs one.
inline std::vector<Case> cases_of(std::string_view model) {
  Task labels = fields({2, 8, 8}, {8, 8});
  labels.classes = 3;
  static const std::map<std::string_view, std::vector<Case>> cases{
      {"mlp",
       {{{{"hidden", "[7, 5]"}, {"dropout", "0.2"}}, images({2, 3, 3}, 4)},
        {{{"hidden", "[]"}}, fields({6}, {2})}}},
      {"lenet", {{{}, images({1, 28, 28}, 3)}}},
      {"cnn", {{{{"channels", "[4, 6]"}, {"convolutions", "2"}, {"hidden", "5"}}, images({2, 8, 8}, 3)}}},
      {"resnet",
       {{{}, images({3, 8, 8}, 4)},
        {{{"shortcut", "B"}, {"zero_last_gamma", "true"}}, images({3, 8, 8}, 4)}}},
      {"vgg16",
       {{{{"channels", "2"}, {"hidden", "6"}, {"batch_norm", "true"}}, images({3, 64, 64}, 3)},
        {{{"channels", "2"}, {"hidden", "6"}}, images({3, 32, 32}, 3)}}},
      {"unet",
       {{{{"channels", "3"}, {"levels", "2"}}, fields({1, 4, 4}, {1, 8, 8})},
        {{{"channels", "3"}, {"levels", "1"}, {"batch_norm", "false"}}, labels}}},
      {"gpt2", {{{{"layers", "2"}, {"heads", "2"}, {"width", "8"}, {"context", "9"}}, tokens(7, 11)}}},
  };
  const auto found = cases.find(model);
  return found == cases.end() ? std::vector<Case>{} : found->second;
}

inline OpSpec loss_for(const Task& task) {
  return make_loss(task.classes > 0 ? "softmax_cross_entropy" : "mse");
}

inline std::vector<std::string_view> model_names() {
  std::vector<std::string_view> names;
  for (const auto& row : models().rows()) names.push_back(row.name);
  return names;
}
}  // namespace lockstep::models
