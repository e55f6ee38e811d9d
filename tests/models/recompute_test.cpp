// Recomputation: wherever the graph is cut, every kernel finds in memory what it reads; the executor's own
// cut saves memory and changes no bit.
#include "models/recompute.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "model_cases.h"
#include "models/ops/reference/backend.h"
#include "models/plan.h"
#include "whole_graph.h"

namespace lockstep::models {
namespace {

std::size_t at(int index) { return static_cast<std::size_t>(index); }

/// What lies in the arena, by granules: plays a timeline and counts reads that find something else.
class Play {
 public:
  Play(const Graph& graph, const Units& units, const std::vector<BackwardStep>& backward,
       const Timeline& line, MemoryPlan plan)
      : graph_(graph),
        units_(units),
        backward_(backward),
        line_(line),
        plan_(std::move(plan)),
        tags_(plan_.arena.bytes / kArenaAlignment + 1, -1) {}

  int wrong_reads() {
    for (int fed : {graph_.input(), graph_.target()}) write(plan_.activation[at(fed)], fed);
    for (std::size_t u = 0; u < units_.units.size(); ++u) forward(static_cast<int>(u));
    for (const BackwardEvent& event : line_.events) event.forward ? forward(event.unit) : back(event.unit);
    return wrong_;
  }

 private:
  static constexpr int kSaved = 100000, kGradient = 200000;
  template <class Visit>
  void granules(int block, Visit visit) {
    if (block < 0) return;
    const std::size_t first = plan_.arena.offsets[at(block)] / kArenaAlignment;
    const std::size_t count = (plan_.blocks[at(block)].bytes + kArenaAlignment - 1) / kArenaAlignment;
    for (std::size_t i = first; i < first + count; ++i) visit(tags_[i]);
  }
  void write(int block, int tag) {
    granules(block, [&](int& each) { each = tag; });
  }
  void read(int block, int tag) {
    bool found = true;
    granules(block, [&](int each) { found = found && each == tag; });
    wrong_ += found ? 0 : 1;
  }
  void forward(int u) {
    const Unit& unit = units_.units[at(u)];
    for (int input : unit.inputs) read(plan_.activation[at(input)], input);
    write(plan_.activation[at(unit.output)], unit.output);
    write(plan_.saved[at(u)], kSaved + u);
  }
  void back(int u) {
    if (!backward_[at(u)].runs) return;
    const Unit& unit = units_.units[at(u)];
    read(plan_.saved[at(u)], kSaved + u);
    if (unit.kernel->backward_needs_output()) read(plan_.activation[at(unit.output)], unit.output);
    read(plan_.gradient[at(unit.output)], kGradient + unit.output);
    for (std::size_t i = 0; i < unit.inputs.size(); ++i) {
      const int input = unit.inputs[i];
      if (unit.kernel->backward_needs_input(static_cast<int>(i))) read(plan_.activation[at(input)], input);
      if (backward_[at(u)].inputs[i].add) read(plan_.gradient[at(input)], kGradient + input);
    }
    for (std::size_t i = 0; i < unit.inputs.size(); ++i) {
      if (backward_[at(u)].inputs[i].wanted)
        write(plan_.gradient[at(unit.inputs[i])], kGradient + unit.inputs[i]);
    }
  }

  const Graph& graph_;
  const Units& units_;
  const std::vector<BackwardStep>& backward_;
  const Timeline& line_;
  MemoryPlan plan_;
  std::vector<int> tags_;
  int wrong_ = 0;
};

struct Planned {
  Graph graph;
  std::unique_ptr<Backend> backend = make_reference_backend<float>({});
  Units units;
  std::vector<BackwardStep> steps;
  explicit Planned(Graph made) : graph(std::move(made)) {
    units = make_units(graph, *backend, {});
    steps = plan_backward(graph, units);
  }
  Planned(std::string_view model, const Case& which) : Planned(graph_for(model, which)) {}
  static Graph graph_for(std::string_view model, const Case& which) {
    const OpSpec loss = loss_for(which.task);
    return build_graph(*make_model(model, which.given), which.task, kMicrobatch, &loss);
  }
  [[nodiscard]] Timeline line(const std::vector<int>& starts) const {
    return make_timeline(graph, units, steps, starts);
  }
  [[nodiscard]] MemoryPlan memory(const Timeline& line) const {
    return plan_memory(graph, units, steps, true, line);
  }
  [[nodiscard]] int count() const { return static_cast<int>(units.units.size()); }
};

/// Every cut in two, and segments of 1, 2, 3, 5 units.
std::vector<std::vector<int>> some_cuts(int count) {
  std::vector<std::vector<int>> cuts{{0}};
  for (int k = 1; k < count; ++k) cuts.push_back({0, k});
  for (int length : {1, 2, 3, 5}) {
    cuts.emplace_back();
    for (int k = 0; k < count; k += length) cuts.back().push_back(k);
  }
  return cuts;
}

class Recompute : public ::testing::TestWithParam<std::string_view> {};
INSTANTIATE_TEST_SUITE_P(Table, Recompute, ::testing::ValuesIn(model_names()),
                         [](const auto& row) { return std::string(row.param); });

TEST_P(Recompute, every_read_finds_its_value_wherever_the_graph_is_cut) {
  int repeated = 0;
  for (const Case& which : cases_of(GetParam())) {
    const Planned planned(GetParam(), which);
    for (const auto& starts : some_cuts(planned.count())) {
      const Timeline line = planned.line(starts);
      repeated += line.repeated();
      Play play(planned.graph, planned.units, planned.steps, line, planned.memory(line));
      EXPECT_EQ(play.wrong_reads(), 0) << starts.size() << " segments, the second at " << starts.back();
    }
  }
  EXPECT_GT(repeated, 0);
}

TEST(RecomputePlay, sees_a_forward_that_is_missing) {  // negative control
  const Planned planned("gpt2", cases_of("gpt2").front());
  const Timeline line = planned.line({0, 6, 12});
  const MemoryPlan plan = planned.memory(line);
  Timeline broken = line;
  const auto first = std::ranges::find_if(broken.events, [](const auto& event) { return event.forward; });
  ASSERT_NE(first, broken.events.end());
  broken.events.erase(first);
  Play play(planned.graph, planned.units, planned.steps, broken, plan);
  EXPECT_GT(play.wrong_reads(), 0);
}

TEST(RecomputeTimeline, last_segment_runs_once_and_one_segment_is_plain_backward) {
  const Planned planned("mlp", cases_of("mlp").front());
  const Timeline plain = planned.line({0});
  EXPECT_EQ(plain.repeated(), 0);
  for (int u = 0; u < planned.count(); ++u) EXPECT_EQ(plain.backward[at(u)], 2 * planned.count() - 1 - u);
  const Timeline cut = planned.line({0, 2});
  for (int u = 2; u < planned.count(); ++u) EXPECT_EQ(cut.again[at(u)], -1);
}

/// Many layers: where the choice pays.
Graph deep(std::string_view model) {
  if (model == "gpt2")
    return graph_of("gpt2", {{"layers", "8"}, {"heads", "2"}, {"width", "8"}, {"dropout", "0.2"}},
                    tokens(9, 11), 2);
  if (model == "resnet") return graph_of("resnet", {{"depth", "32"}}, images({3, 8, 8}, 5), 2);
  if (model == "cnn")
    return graph_of("cnn", {{"channels", "[4, 6]"}, {"convolutions", "5"}}, images({2, 8, 8}, 5), 2);
  return graph_of("mlp", {{"hidden", "[64, 64, 64, 64, 64, 64, 64, 64]"}, {"dropout", "0.2"}},
                  images({1, 8, 8}, 5), 8);
}

class DeepModel : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Recompute, DeepModel, ::testing::Values("mlp", "cnn", "resnet", "gpt2"),
                         [](const auto& each) { return std::string(each.param); });

struct Bits {
  double loss, second_loss;
  std::vector<double> gradients, statistics;
  std::size_t arena;
  friend bool operator==(const Bits& a, const Bits& b) {
    return a.loss == b.loss && a.second_loss == b.second_loss && a.gradients == b.gradients &&
           a.statistics == b.statistics;
  }
};

/// Two microbatches, the second added to the first.
Bits train(Graph graph, bool recompute, std::int64_t first_sample = 0) {
  models::testing::WholeGraph whole(std::move(graph), {.recompute = recompute});
  Bits bits{};
  whole.pass.seed = 5;
  whole.pass.first_sample = first_sample;
  bits.loss = whole.forward();
  whole.backward();
  whole.pass.accumulate = true;
  whole.pass.first_sample = first_sample + 8;
  bits.second_loss = whole.forward();
  whole.backward();
  bits.gradients = whole.gradients;
  bits.statistics = whole.statistics;
  bits.arena = whole.executor().arena_bytes();
  return bits;
}

TEST_P(DeepModel, recomputation_changes_no_bit_and_needs_less_memory) {
  const Bits plain = train(deep(GetParam()), false), again = train(deep(GetParam()), true);
  EXPECT_EQ(again, plain);
  EXPECT_LT(again.arena, plain.arena * 3 / 4) << again.arena << " of " << plain.arena;
}

TEST(RecomputeBits, see_another_dropout_mask) {  // negative control
  EXPECT_FALSE(train(deep("gpt2"), true, 0) == train(deep("gpt2"), true, 64));
}

}  // namespace
}  // namespace lockstep::models
