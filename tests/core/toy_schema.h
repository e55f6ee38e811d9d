// A small schema for the tests of the config: two sections and two kinds, one nested.
#pragma once

#include <array>

#include "core/options.h"

namespace lockstep::toy {

inline constexpr std::array<Setting, 4> kTrain = {{
    {"steps", SettingType::integer, nullptr, "optimizer steps", "[1,inf)"},
    {"seed", SettingType::integer, "1", "random seed"},
    {"title", SettingType::text, "", "shown in reports"},
    {"milestones", SettingType::integers, "[]", "steps at which the rate drops"},
}};
inline constexpr std::array<Setting, 2> kBatch = {{
    {"global", SettingType::integer, "64", "samples per step", "[1,inf)"},
    {"tail", SettingType::text, "pad", "what to do with the rest", "pad|drop"},
}};
inline constexpr std::array<Setting, 2> kSgd = {{
    {"momentum", SettingType::real, "0.9", "share of the old direction", "[0,1)"},
    {"nesterov", SettingType::boolean, "false", "look ahead"},
}};
inline constexpr std::array<Setting, 1> kAdamw = {{
    {"betas", SettingType::reals, "[0.9, 0.999]", "decay rates"},
}};
inline constexpr std::array<Setting, 1> kReader = {{
    {"path", SettingType::text, nullptr, "the file to read"},
}};

inline Schema schema() {
  return {{{"train", kTrain}, {"train.batch", kBatch}},
          {{"optimizer", "sgd", {{"sgd", "stochastic gradient descent", kSgd}, {"adamw", "Adam", kAdamw}}},
           {"data", "none", {{"none", "no data", {}}, {"reader", "reads a file", kReader}}},
           {"sync.inner", "none", {{"none", "nothing", {}}, {"twice", "two steps", kBatch}}}}};
}

}  // namespace lockstep::toy
