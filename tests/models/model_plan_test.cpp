// What the planner promises, checked on every model in the table, in training and in evaluation, fused and
// not: memory is shared only by what never lives together, and slots complete in the order in which they lie.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "model_cases.h"
#include "models/executor.h"
#include "models/ops/reference/backend.h"
#include "models/plan.h"

namespace lockstep::models {
namespace {

std::size_t at(int index) { return static_cast<std::size_t>(index); }

/// A plan of one model as its executor makes it.
struct Planned {
  Graph graph;
  std::unique_ptr<Backend> backend = make_reference_backend<float>({});
  Units units;
  std::vector<BackwardStep> backward;
  SlotPlan slots;
  MemoryPlan memory;

  Planned(std::string_view model, const Case& which, bool training, bool reuse = true)
      : graph(make(model, which)) {
    units = make_units(graph, *backend, {.training = training});
    if (training) backward = plan_backward(graph, units);
    slots = plan_slots(graph, units);
    memory = plan_memory(graph, units, backward, reuse);
  }
  static Graph make(std::string_view model, const Case& which) {
    const OpSpec loss = loss_for(which.task);
    return build_graph(*make_model(model, which.given), which.task, kMicrobatch, &loss);
  }
  [[nodiscard]] int count() const { return static_cast<int>(units.units.size()); }
  [[nodiscard]] bool alive(int block, int time) const {
    const Lifetime& life = memory.blocks[at(block)];
    return life.first <= time && time <= life.last;
  }
};

class ModelPlan : public testing::TestWithParam<std::string_view> {
 protected:
  static void each_plan(const auto& check) {
    for (const Case& which : cases_of(GetParam())) {
      for (const bool training : {true, false}) check(Planned(GetParam(), which, training));
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Table, ModelPlan, testing::ValuesIn(model_names()),
                         [](const auto& row) { return std::string(row.param); });

TEST_P(ModelPlan, blocks_that_live_together_lie_apart_and_inside_the_arena) {
  each_plan([](const Planned& planned) {
    const auto& blocks = planned.memory.blocks;
    const auto& offsets = planned.memory.arena.offsets;
    ASSERT_EQ(offsets.size(), blocks.size());
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      ASSERT_LE(blocks[i].first, blocks[i].last);
      ASSERT_EQ(offsets[i] % kArenaAlignment, 0u);
      ASSERT_LE(offsets[i] + blocks[i].bytes, planned.memory.arena.bytes);
      for (std::size_t j = 0; j < i; ++j) {
        const bool together = blocks[i].first <= blocks[j].last && blocks[j].first <= blocks[i].last;
        const bool apart =
            offsets[i] + blocks[i].bytes <= offsets[j] || offsets[j] + blocks[j].bytes <= offsets[i];
        ASSERT_TRUE(!together || apart) << "blocks " << i << " and " << j;
      }
    }
  });
}

TEST_P(ModelPlan, every_value_is_alive_where_it_is_written_and_read) {
  each_plan([](const Planned& planned) {
    for (int u = 0; u < planned.count(); ++u) {
      const Unit& unit = planned.units.units[at(u)];
      EXPECT_TRUE(planned.alive(planned.memory.activation[at(unit.output)], u));
      for (const int input : unit.inputs) EXPECT_TRUE(planned.alive(planned.memory.activation[at(input)], u));
    }
    const int end = planned.backward.empty() ? planned.count() - 1 : 2 * planned.count() - 1;
    EXPECT_TRUE(planned.alive(planned.memory.activation[at(planned.graph.loss())], end));
    EXPECT_TRUE(
        planned.alive(planned.memory.activation[at(planned.graph.prediction())], planned.count() - 1));
  });
}

TEST_P(ModelPlan, backward_finds_what_its_kernels_say_they_read) {
  each_plan([](const Planned& planned) {
    for (int u = 0; u < planned.count() && !planned.backward.empty(); ++u) {
      if (!planned.backward[at(u)].runs) continue;
      const Unit& unit = planned.units.units[at(u)];
      const int time = 2 * planned.count() - 1 - u;
      if (unit.kernel->backward_needs_output()) {
        EXPECT_TRUE(planned.alive(planned.memory.activation[at(unit.output)], time));
      }
      if (unit.kernel->saved_bytes() > 0) {
        EXPECT_TRUE(planned.alive(planned.memory.saved[at(u)], time));
        EXPECT_TRUE(planned.alive(planned.memory.saved[at(u)], u));
      }
      for (std::size_t i = 0; i < unit.inputs.size(); ++i) {
        if (unit.kernel->backward_needs_input(static_cast<int>(i))) {
          EXPECT_TRUE(planned.alive(planned.memory.activation[at(unit.inputs[i])], time));
        }
        if (planned.backward[at(u)].inputs[i].wanted) {
          EXPECT_TRUE(planned.alive(planned.memory.gradient[at(unit.inputs[i])], time));
        }
      }
    }
  });
}

TEST_P(ModelPlan, gradients_are_overwritten_once_and_then_added_to) {
  each_plan([](const Planned& planned) {
    std::set<int> written;
    std::set<int> parameters;
    for (int u = planned.count(); u-- > 0 && !planned.backward.empty();) {
      const Unit& unit = planned.units.units[at(u)];
      const BackwardStep& step = planned.backward[at(u)];
      if (!step.runs) continue;
      for (std::size_t i = 0; i < unit.inputs.size(); ++i) {
        if (!step.inputs[i].wanted) continue;
        EXPECT_EQ(step.inputs[i].add, !written.insert(unit.inputs[i]).second);
      }
      for (const int parameter : unit.parameters)
        EXPECT_EQ(step.adds_parameters, !parameters.insert(parameter).second);
    }
    EXPECT_EQ(parameters.size(), planned.backward.empty() ? 0 : planned.graph.parameters().size());
  });
}

TEST_P(ModelPlan, slots_lie_aligned_and_apart_in_the_order_of_their_last_writer) {
  each_plan([](const Planned& planned) {
    const auto slots = planned.slots.parameters.slots();
    ASSERT_EQ(slots.size(), planned.graph.parameters().size());
    std::int64_t end = 0;
    for (const Slot& slot : slots) {
      EXPECT_EQ(slot.offset % kSlotAlignment, 0) << slot.name;
      EXPECT_GE(slot.offset, end) << slot.name;
      end = slot.offset + slot.stored_count;
    }
    // The first unit of a slot runs its backward last: it must not come before that of an earlier slot.
    std::vector<int> writer(slots.size(), planned.count());
    for (int u = planned.count(); u-- > 0;) {
      for (const int p : planned.units.units[at(u)].parameters)
        writer[at(planned.slots.slot_of_parameter[at(p)])] = u;
    }
    EXPECT_TRUE(std::ranges::is_sorted(writer, std::greater<>()));
    for (int u = 0; u < planned.count(); ++u) {
      const auto complete = std::ranges::count_if(writer, [&](int first) { return first >= u; });
      EXPECT_EQ(planned.slots.ready[at(u)], complete) << "after the backward of unit " << u;
    }
  });
}

TEST_P(ModelPlan, evaluation_and_training_lay_out_the_same_flat_arrays) {
  for (const Case& which : cases_of(GetParam())) {
    const Planned training(GetParam(), which, true), evaluation(GetParam(), which, false);
    const auto some = training.slots.parameters.slots(), same = evaluation.slots.parameters.slots();
    ASSERT_EQ(some.size(), same.size());
    for (std::size_t i = 0; i < some.size(); ++i) {
      EXPECT_EQ(some[i].name, same[i].name);
      EXPECT_EQ(some[i].offset, same[i].offset);
    }
    EXPECT_LT(evaluation.memory.arena.bytes, training.memory.arena.bytes);
    EXPECT_LE(training.memory.arena.bytes, Planned(GetParam(), which, true, false).memory.arena.bytes);
  }
}

TEST_P(ModelPlan, arena_is_no_smaller_than_the_busiest_moment_and_not_much_larger) {
  each_plan([](const Planned& planned) {
    std::size_t busiest = 0;
    for (int time = 0; time < 2 * planned.count(); ++time) {
      std::size_t bytes = 0;
      for (std::size_t i = 0; i < planned.memory.blocks.size(); ++i) {
        const std::size_t size = planned.memory.blocks[i].bytes;
        if (planned.alive(static_cast<int>(i), time))
          bytes += (size + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
      }
      busiest = std::max(busiest, bytes);
    }
    EXPECT_GE(planned.memory.arena.bytes + kArenaAlignment, busiest);
    EXPECT_LE(planned.memory.arena.bytes, busiest + busiest / 2) << "greedy by size is rarely far off";
  });
}

TEST(TiedSlots, embedding_of_gpt2_lies_last_and_completes_with_the_embedding) {
  const Planned planned("gpt2", cases_of("gpt2").front(), true);
  EXPECT_EQ(planned.slots.parameters.slots().back().name, "transformer.wte.weight");
  const int slots = static_cast<int>(planned.graph.parameters().size());
  EXPECT_EQ(planned.slots.ready.front(), slots);
  for (std::size_t u = 1; u < planned.slots.ready.size(); ++u) EXPECT_LT(planned.slots.ready[u], slots);
  EXPECT_EQ(std::ranges::count_if(planned.backward, [](const auto& step) { return step.adds_parameters; }),
            1);
  EXPECT_TRUE(planned.backward.front().adds_parameters) << "the head wrote the slot before the embedding";
}

TEST(Prediction, outlives_what_is_computed_after_it) {
  GraphBuilder builder(2);
  int x = builder.linear(builder.input({4}, Dtype::f32), "fc", {.out_features = 4}, {});
  builder.predict(x);
  for (const char* name : {"a", "b", "c"}) x = builder.apply(Gelu{}, {x}, name);
  const Graph graph = std::move(builder).finish();
  const auto backend = make_reference_backend<float>({});
  const Units units = make_units(graph, *backend, {.training = false});
  const MemoryPlan memory = plan_memory(graph, units, {}, true);
  EXPECT_EQ(memory.blocks[at(memory.activation[at(graph.prediction())])].last, 3)
      << "it is read after forward";
}

}  // namespace
}  // namespace lockstep::models
