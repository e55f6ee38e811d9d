// Buckets and their overlap with backward, on ranks that are threads.
#include "comm/exchange.h"

#include <gtest/gtest.h>

#include <cstring>
#include <future>
#include <mutex>

#include "comm/worlds.h"
#include "core/error.h"
#include "core/hash.h"
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

SlotLayout small_layout() { return layout_of({10, 300, 64, 1, 2000, 7, 128, 900}); }

constexpr std::int64_t kSlotBytes = kSlotAlignment * 4;

/// One rank's exchange with its arrays and streams.
struct Rank {
  Rank(World& world, const SlotLayout& layout, const ExchangeOptions& options,
       const std::string& schedule = "halving_doubling", double deadline_s = 60)
      : gradients(make_array(Device{}, Dtype::f32, layout.stored_count())),
        collectives(make_collectives(world.transport(deadline_s), schedule_named(schedule))),
        compute(make_stream(Device{})),
        exchange(make_exchange(layout, *collectives, options)) {}

  FlatArray gradients;
  std::unique_ptr<Collectives> collectives;
  std::unique_ptr<Stream> compute;
  std::unique_ptr<GradientExchange> exchange;  // dies first

  std::span<float> values() { return gradients.span.as<float>(); }

  /// One step in which backward completes the slots in the order of `counts`.
  void step(int rank, const std::vector<int>& counts) {
    const auto own = normal_values(rank, gradients.span.count);
    std::copy(own.begin(), own.end(), values().begin());
    exchange->begin(gradients.span);
    for (int slots : counts) exchange->complete(slots, compute->record());
    exchange->finish(*compute);
    compute->synchronize();
  }
};

std::vector<float> expected_sum(int ranks, std::int64_t count) {
  std::vector<std::vector<float>> arrays;
  for (int rank = 0; rank < ranks; ++rank) arrays.push_back(normal_values(rank, count));
  run_plans(*schedule_named("halving_doubling"), arrays);
  return arrays[0];
}

// ---- cutting

TEST(Buckets, cover_the_array_with_whole_slots_once) {
  const SlotLayout layout = small_layout();
  for (std::int64_t bytes : {std::int64_t{1}, kSlotBytes, 3 * kSlotBytes, std::int64_t{1} << 30}) {
    for (std::int64_t first : {std::int64_t{1}, 2 * kSlotBytes, std::int64_t{1} << 30}) {
      const auto buckets = cut_buckets(layout, bytes, first);
      std::int64_t next = 0;
      int slot = 0;
      for (std::size_t i = 0; i < buckets.size(); ++i) {
        EXPECT_EQ(buckets[i].index, static_cast<int>(i));
        EXPECT_EQ(buckets[i].first_slot, slot);
        EXPECT_EQ(buckets[i].range.first, next);
        EXPECT_GT(buckets[i].last_slot, buckets[i].first_slot);
        const bool one_slot = buckets[i].last_slot == slot + 1;
        EXPECT_TRUE(one_slot || buckets[i].range.count * 4 <= (i == 0 ? first : bytes));
        next += buckets[i].range.count;
        slot = buckets[i].last_slot;
      }
      EXPECT_EQ(next, layout.stored_count());
      EXPECT_EQ(slot, 8);
    }
  }
}

TEST(Buckets, first_is_small_so_that_communication_starts_early) {
  const auto buckets = cut_buckets(layout_of({64, 64, 64, 64, 64, 64, 64}), 4 * kSlotBytes, kSlotBytes);
  ASSERT_EQ(buckets.size(), 3u);
  EXPECT_EQ(buckets[0].range, (Range{0, 64}));
  EXPECT_EQ(buckets[1].range, (Range{64, 256}));
  EXPECT_EQ(buckets[2].range, (Range{320, 128}));
}

TEST(Buckets, a_large_slot_is_a_bucket_of_its_own) {
  const auto buckets = cut_buckets(layout_of({64, 6400, 64}), 2 * kSlotBytes, 2 * kSlotBytes);
  ASSERT_EQ(buckets.size(), 3u);
  EXPECT_EQ(buckets[1].range, (Range{64, 6400}));
}

TEST(Buckets, no_slots_are_no_buckets) { EXPECT_TRUE(cut_buckets(SlotLayout(), 100, 100).empty()); }

TEST(Buckets, a_size_below_one_byte_is_refused) {
  const auto world = make_self_world();
  const auto collectives = make_collectives(world->transport(1), schedule_named("ring"));
  EXPECT_THROW(make_exchange(small_layout(), *collectives, {.bucket_bytes = 0}), Error);
}

// ---- sums

class ExchangeOnThreads : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, ExchangeOnThreads, testing::Values(1, 2, 3, 4));

TEST_P(ExchangeOnThreads, any_bucket_size_gives_the_same_sum) {
  const SlotLayout layout = small_layout();
  const auto expected = expected_sum(GetParam(), layout.stored_count());
  for (std::int64_t bytes : {std::int64_t{1}, 2 * kSlotBytes, 9 * kSlotBytes, std::int64_t{1} << 20}) {
    run_ranks_as_threads(GetParam(), [&](World& world) {
      Rank rank(world, layout, {.bucket_bytes = bytes, .first_bucket_bytes = bytes / 2 + 1});
      rank.step(world.rank(), {1, 2, 3, 4, 5, 6, 7, 8});
      const auto values = rank.values();
      ASSERT_EQ(std::memcmp(values.data(), expected.data(), values.size_bytes()), 0) << bytes << " bytes";
    });
  }
}

TEST_P(ExchangeOnThreads, any_growing_order_of_completion_gives_the_same_sum) {
  const SlotLayout layout = small_layout();
  const auto expected = expected_sum(GetParam(), layout.stored_count());
  run_ranks_as_threads(GetParam(), [&](World& world) {
    Rank rank(world, layout, {.bucket_bytes = 3 * kSlotBytes, .first_bucket_bytes = 1});
    for (const auto& counts : {std::vector<int>{8}, {0, 0, 8, 8}, {3, 3, 5, 8}, {1, 7, 8}}) {
      rank.step(world.rank(), counts);  // steps follow one another on one exchange
      const auto values = rank.values();
      ASSERT_EQ(std::memcmp(values.data(), expected.data(), values.size_bytes()), 0);
    }
  });
}

TEST(Exchange, ring_bits_change_with_the_bucket_size) {  // negative control of the two above
  const SlotLayout layout = small_layout();
  const auto hash_with = [&](std::int64_t bytes) {
    std::uint64_t hash = 0;
    run_ranks_as_threads(4, [&](World& world) {
      Rank rank(world, layout, {.bucket_bytes = bytes, .first_bucket_bytes = bytes}, "ring");
      rank.step(world.rank(), {8});
      if (world.rank() == 0) hash = hash_floats(rank.values());
    });
    return hash;
  };
  EXPECT_NE(hash_with(2 * kSlotBytes), hash_with(1 << 20));
  EXPECT_EQ(hash_with(1 << 20), hash_with(1 << 20));
}

// ---- overlap

TEST(Exchange, a_bucket_is_summed_while_backward_still_runs) {
  run_ranks_as_threads(2, [&](World& world) {
    const SlotLayout layout = layout_of({64, 64, 64});
    Rank rank(world, layout, {.bucket_bytes = kSlotBytes, .first_bucket_bytes = kSlotBytes});
    std::fill(rank.values().begin(), rank.values().end(), 1.0f);
    std::promise<void> backward;
    rank.exchange->begin(rank.gradients.span);
    const Event first = rank.compute->record();
    rank.compute->host([&] { backward.get_future().wait(); });  // the rest of backward
    const Event rest = rank.compute->record();
    rank.exchange->complete(1, first);
    rank.exchange->stream().record().wait();
    EXPECT_EQ(rank.values()[0], 2.0f);  // summed already
    EXPECT_FALSE(rest.complete());
    rank.exchange->complete(3, rest);
    EXPECT_EQ(rank.values()[64], 1.0f);  // and not before it is ready
    backward.set_value();
    rank.exchange->finish(*rank.compute);
    rank.compute->synchronize();
    for (float x : rank.values()) ASSERT_EQ(x, 2.0f);
  });
}

TEST(Exchange, finish_does_not_block_the_caller_and_compute_waits) {
  run_ranks_as_threads(2, [&](World& world) {
    const SlotLayout layout = layout_of({64});
    Rank rank(world, layout, {});
    std::promise<void> backward;
    rank.compute->host([&] { backward.get_future().wait(); });
    rank.exchange->begin(rank.gradients.span);
    rank.exchange->complete(1, rank.compute->record());
    rank.exchange->finish(*rank.compute);
    float seen = -1;
    rank.compute->host([&] { seen = rank.values()[0]; });
    std::fill(rank.values().begin(), rank.values().end(), 3.0f);
    backward.set_value();
    rank.compute->synchronize();
    EXPECT_EQ(seen, 6.0f);
  });
}

// ---- reports and faults

TEST(Exchange, report_counts_one_step_as_stated) {
  run_ranks_as_threads(3, [&](World& world) {
    const SlotLayout layout = small_layout();
    Rank rank(world, layout, {.bucket_bytes = 4 * kSlotBytes, .first_bucket_bytes = kSlotBytes});
    Cost stated;
    for (const Bucket& bucket : rank.exchange->buckets()) {
      const Cost cost = schedule_named("halving_doubling")->stated_cost(world.rank(), 3, bucket.range.count);
      stated.messages += cost.messages;
      stated.elements += cost.elements;
    }
    for (int step = 0; step < 3; ++step) {
      rank.step(world.rank(), {2, 8});
      const ExchangeReport report = rank.exchange->report();
      EXPECT_EQ(report.messages, stated.messages);
      EXPECT_EQ(report.wire_bytes, stated.elements * 4);
      EXPECT_GT(report.communication_s, 0);
    }
  });
}

TEST(Exchange, misuse_is_refused) {
  const auto world = make_self_world();
  const SlotLayout layout = small_layout();
  Rank rank(*world, layout, {});
  EXPECT_THROW(rank.exchange->begin(rank.gradients.span.part(0, 64)), Error);
  rank.exchange->begin(rank.gradients.span);
  EXPECT_THROW(rank.exchange->complete(9, Event()), Error);
  EXPECT_THROW(rank.exchange->finish(*rank.compute), Error);  // nothing was completed
  rank.exchange->complete(8, Event());
  rank.exchange->finish(*rank.compute);
  rank.compute->synchronize();
}

TEST(Exchange, a_silent_peer_fails_the_compute_stream) {
  try {
    run_ranks_as_threads(2, [&](World& world) {
      Rank rank(world, layout_of({64}), {}, "ring", 0.3);
      if (world.rank() == 1) return;  // never takes part
      rank.step(0, {1});
      FAIL() << "summed with a silent peer";
    });
    FAIL() << "no fault";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::communication) << error.what();
  }
}

// The reproducible mode whole: tree within ranks during backward, buckets exchanged behind the last
// microbatch.
std::uint64_t reproducible_hash(int ranks, int global_microbatches, std::int64_t bucket_bytes) {
  const SlotLayout layout = small_layout();
  std::uint64_t hash = 0;
  run_ranks_as_threads(ranks, [&](World& world) {
    Rank rank(world, layout, {.bucket_bytes = bucket_bytes, .first_bucket_bytes = bucket_bytes});
    const int per_rank = global_microbatches / ranks;
    const auto tree = make_tree_accumulator(rank.gradients.span, per_rank);
    rank.exchange->begin(rank.gradients.span);
    for (int j = 0; j < per_rank; ++j) {
      const FlatSpan target = tree->target(j);
      const int global = world.rank() * per_rank + j;
      for (std::size_t slot = 0; slot < layout.slots().size(); ++slot) {  // backward, slot by slot
        const std::int64_t begin = layout.slots()[slot].offset;
        const bool last = slot + 1 == layout.slots().size();
        const std::int64_t end = last ? layout.stored_count() : layout.slots()[slot + 1].offset;
        rank.compute->host([=] {
          const auto values = normal_values(global, end);
          std::copy(values.begin() + begin, values.end(), target.as<float>().begin() + begin);
        });
        tree->complete(j, end, *rank.compute);
        if (j + 1 == per_rank) rank.exchange->complete(static_cast<int>(slot) + 1, rank.compute->record());
      }
    }
    rank.exchange->finish(*rank.compute);
    rank.compute->synchronize();
    if (world.rank() == 0) hash = hash_floats(rank.values());
  });
  return hash;
}

TEST(Reproducible, exchanged_sums_at_1_2_4_8_ranks_and_any_bucket_size_have_the_same_bits) {
  for (int microbatches : {8, 24}) {
    const std::uint64_t alone = reproducible_hash(1, microbatches, 1 << 20);
    for (int ranks : {1, 2, 4, 8}) {
      for (std::int64_t bytes : {std::int64_t{1}, 4 * kSlotBytes}) {
        EXPECT_EQ(reproducible_hash(ranks, microbatches, bytes), alone)
            << ranks << " ranks, " << bytes << " bytes";
      }
    }
  }
}

}  // namespace
}  // namespace lockstep::comm
