// Models with stores of random values, for tests of weights in files.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/parameters.h"
#include "core/random.h"
#include "tests/models/model_support.h"

namespace lockstep::trainer {

inline SlotLayout layout_of(std::span<const models::ParameterSpec> parameters) {
  std::vector<SlotSpec> slots;
  for (const auto& each : parameters) slots.push_back({each.name, each.shape, {}, each.decays});
  return SlotLayout(std::move(slots));
}

/// A model with a store of random values.
struct Subject {
  std::unique_ptr<models::Model> model;
  models::Graph graph;
  ParameterStore store;

  Subject(const char* name, const models::Given& given, const models::Task& task, std::uint64_t seed)
      : model(models::make_model(name, given)),
        graph(models::graph_of(name, given, task)),
        store(layout_of(graph.parameters()), layout_of(graph.states()), Device{}) {
    for (const SlotLayout* layout : {&store.layout(), &store.state_layout()}) {
      for (const Slot& slot : layout->slots()) {
        const RandomSource random(seed, slot.name, 0);
        std::vector<float> values(static_cast<std::size_t>(slot.shape.count()));
        for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.normal(i);
        store.write(slot.name, values);
      }
    }
  }
};

/// What a refusal of weights says; "no error" when there was none.
inline std::string refusal(const auto& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::checkpoint);
    EXPECT_FALSE(error.hint().empty());
    return error.what();
  }
  return "no error";
}
inline void expect_says(const std::string& what, const std::string& part) {
  EXPECT_NE(what.find(part), std::string::npos) << what;
}
/// A file that belongs to the test that runs.
inline std::string scratch(const std::string& name) {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  std::string file = std::string("weights_") + test->name() + "_" + name;
  std::ranges::replace(file, '/', '_');
  return std::filesystem::path(testing::TempDir()) / file;
}

}  // namespace lockstep::trainer
