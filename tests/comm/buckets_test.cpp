// Buckets against the rule written down plainly, on awkward layouts; sums by bucket against one sum, with the
// traffic they cost.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "comm/exchange.h"
#include "comm/worlds.h"
#include "core/error.h"
#include "core/memory.h"
#include "tests/comm/sums.h"

namespace lockstep::comm {
namespace {

SlotLayout layout_of(const std::vector<std::int64_t>& counts) {
  std::vector<SlotSpec> specs;
  for (std::size_t i = 0; i < counts.size(); ++i)
    specs.push_back({"slot" + std::to_string(i), Shape{counts[i]}});
  return SlotLayout(specs);
}

/// Layouts of tiny, huge, growing and random slots.
std::vector<std::vector<std::int64_t>> awkward_layouts() {
  std::vector<std::vector<std::int64_t>> all = {
      {1},
      std::vector<std::int64_t>(100, 1),
      {1'000'000},
      {1, 1'000'000, 1},
      {1'000'000, 1, 1},
      {64, 65, 63},
      {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048},
  };
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const RandomSource random(seed, "layout", 0);
    std::vector<std::int64_t> counts(1 + random.below(0, 40));
    for (std::size_t i = 0; i < counts.size(); ++i) {
      counts[i] = static_cast<std::int64_t>(1 + random.below(1 + i, i % 7 == 0 ? 20'000 : 300));
    }
    all.push_back(counts);
  }
  return all;
}

/// The end of slot `slot` with the gap behind it.
std::int64_t end_of(const SlotLayout& layout, std::size_t slot) {
  return slot + 1 < layout.slots().size() ? layout.slots()[slot + 1].offset : layout.stored_count();
}

TEST(BucketRule, whole_slots_join_while_they_fit_and_not_longer) {
  for (const auto& counts : awkward_layouts()) {
    const auto layout = layout_of(counts);
    for (const std::int64_t bytes : {1, 256, 1000, 4096, 1 << 20}) {
      for (const std::int64_t first_bytes : {1, 512, 1 << 22}) {
        std::vector<std::pair<std::size_t, std::size_t>> expected;  // the rule, by slots
        for (std::size_t slot = 0; slot < counts.size(); ++slot) {
          const std::int64_t limit = expected.size() <= 1 ? first_bytes : bytes;
          const bool fits =
              !expected.empty() &&
              4 * (end_of(layout, slot) - layout.slots()[expected.back().first].offset) <= limit;
          if (!fits) expected.emplace_back(slot, slot);
          expected.back().second = slot + 1;
        }
        const auto buckets = cut_buckets(layout, bytes, first_bytes);
        ASSERT_EQ(buckets.size(), expected.size()) << bytes << " " << first_bytes;
        for (std::size_t i = 0; i < buckets.size(); ++i) {
          EXPECT_EQ(buckets[i].first_slot, static_cast<int>(expected[i].first));
          EXPECT_EQ(buckets[i].last_slot, static_cast<int>(expected[i].second));
          EXPECT_EQ(buckets[i].range.first, layout.slots()[expected[i].first].offset);
          EXPECT_EQ(buckets[i].range.first + buckets[i].range.count, end_of(layout, expected[i].second - 1));
        }
      }
    }
  }
}

TEST(BucketRule, a_smaller_limit_never_makes_fewer_buckets) {
  for (const auto& counts : awkward_layouts()) {
    std::size_t before = counts.size() + 1;
    for (std::int64_t bytes = 1; bytes < (1 << 24); bytes *= 4) {
      const auto buckets = cut_buckets(layout_of(counts), bytes, bytes).size();
      EXPECT_LE(buckets, before);
      before = buckets;
    }
    EXPECT_EQ(before, 1U) << "all fit at last";
  }
}

// ---- sums by bucket

/// One step of rank `world.rank()` over `layout`; its gradients afterwards, and its report.
std::pair<std::vector<float>, ExchangeReport> step(World& world, const SlotLayout& layout,
                                                   const ExchangeOptions& options,
                                                   const std::string& schedule) {
  const FlatArray gradients = make_array(Device{}, Dtype::f32, layout.stored_count());
  const auto own = normal_values(world.rank(), layout.stored_count());
  std::copy(own.begin(), own.end(), gradients.span.as<float>().begin());
  const auto collectives = make_collectives(world.transport(60), schedule_named(schedule));
  const auto compute = make_stream(Device{});
  const auto exchange = make_exchange(layout, *collectives, options);
  exchange->begin(gradients.span);
  for (int slots = 1; slots <= static_cast<int>(layout.slots().size()); ++slots) {
    exchange->complete(slots, compute->record());
  }
  exchange->finish(*compute);
  compute->synchronize();
  const auto summed = gradients.span.as<float>();
  return {{summed.begin(), summed.end()}, exchange->report()};
}

class BucketSums : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, BucketSums, testing::Values(1, 2, 3, 5));

TEST_P(BucketSums, layout_invariant_schedules_give_the_same_bits_for_any_cut) {
  const int ranks = GetParam();
  for (const auto& counts : {std::vector<std::int64_t>(40, 1), {1, 5000, 1}, {300, 1, 64, 900, 65}}) {
    const auto layout = layout_of(counts);
    for (const std::string schedule : {"halving_doubling", "recursive_doubling"}) {
      std::vector<std::vector<float>> arrays;
      for (int rank = 0; rank < ranks; ++rank) arrays.push_back(normal_values(rank, layout.stored_count()));
      run_plans(*schedule_named(schedule), arrays);
      for (const std::int64_t bytes : {1, 700, 1 << 20}) {
        for (const std::int64_t first : {1, 1 << 20}) {
          run_ranks_as_threads(ranks, [&](World& world) {
            const auto [summed, report] =
                step(world, layout, {.bucket_bytes = bytes, .first_bucket_bytes = first}, schedule);
            ASSERT_EQ(std::memcmp(summed.data(), arrays[0].data(), summed.size() * 4), 0)
                << schedule << " " << bytes;
          });
        }
      }
    }
  }
}

TEST_P(BucketSums, report_is_the_stated_cost_of_all_buckets) {
  const auto layout = layout_of({10, 300, 64, 1, 2000, 7});
  for (const NamedSchedule& chosen : all_schedules()) {
    if (has_tiny_segments(chosen.name)) continue;
    for (const std::int64_t bytes : {1, 2000}) {
      const ExchangeOptions options{.bucket_bytes = bytes, .first_bucket_bytes = 600};
      run_ranks_as_threads(GetParam(), [&](World& world) {
        Cost stated;
        for (const Bucket& bucket : cut_buckets(layout, bytes, 600)) {
          const Cost cost = chosen.schedule->stated_cost(world.rank(), world.size(), bucket.range.count);
          stated.messages += cost.messages;
          stated.elements += cost.elements;
        }
        const auto report = step(world, layout, options, chosen.name).second;
        if (chosen.schedule->library() && world.size() == 1) return;  // the lone rank's own sum sends nothing
        EXPECT_EQ(report.messages, stated.messages) << chosen.name;
        EXPECT_EQ(report.wire_bytes, stated.elements * 4) << chosen.name;
      });
    }
  }
}

TEST(ExchangeSteps, a_step_left_open_is_refused_at_the_next) {
  const auto world = make_self_world();
  const auto layout = layout_of({64, 64});
  const auto collectives = make_collectives(world->transport(1), schedule_named("ring"));
  const auto exchange = make_exchange(layout, *collectives, {.bucket_bytes = 1, .first_bucket_bytes = 1});
  const FlatArray gradients = make_array(Device{}, Dtype::f32, layout.stored_count());
  exchange->begin(gradients.span);
  exchange->complete(1, Event());
  try {
    exchange->begin(gradients.span);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::internal);
    EXPECT_STREQ(error.what(), "bucket 1 of 2 was never completed in this step");
  }
  EXPECT_THROW(exchange->complete(-1, Event()), Error);
}

TEST(ExchangeSteps, a_model_without_parameters_exchanges_nothing) {
  run_ranks_as_threads(2, [](World& world) {
    const auto [summed, report] = step(world, SlotLayout(), {}, "ring");
    EXPECT_TRUE(summed.empty());
    EXPECT_EQ(report.messages, 0);
    EXPECT_EQ(report.wire_bytes, 0);
  });
}

TEST(ExchangeSteps, gradients_of_another_dtype_are_refused) {
  const auto world = make_self_world();
  const auto layout = layout_of({64});
  const auto collectives = make_collectives(world->transport(1), schedule_named("ring"));
  const auto exchange = make_exchange(layout, *collectives, {});
  const FlatArray doubles = make_array(Device{}, Dtype::f64, 64);
  EXPECT_THROW(exchange->begin(doubles.span), Error);
  EXPECT_EQ(exchange->report().messages, 0);
}

TEST(ExchangeSteps, halves_are_summed_but_not_compressed) {
  const auto world = make_self_world();
  const auto layout = layout_of({64});
  const auto collectives = make_collectives(world->transport(1), schedule_named("ring"));
  const FlatArray halves = make_array(Device{}, Dtype::bf16, 64);
  const auto plain = make_exchange(layout, *collectives, {});
  EXPECT_NO_THROW(plain->begin(halves.span));
  ExchangeOptions options;
  options.compression.name = "int8";
  const auto compressing = make_exchange(layout, *collectives, options);
  EXPECT_THROW(compressing->begin(halves.span), Error);
}

}  // namespace
}  // namespace lockstep::comm
