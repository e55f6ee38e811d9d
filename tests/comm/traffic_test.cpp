// What really goes over a transport: messages, bytes and rounds of every collective equal what its plan
// states, at 1 to 17 ranks; and every collective moves the right values at awkward sizes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "comm/movement.h"
#include "comm/worlds.h"
#include "tests/comm/sums.h"

namespace lockstep::comm {
namespace {

/// One rank's collectives with counted rounds.
struct Counted {
  explicit Counted(World& world) : rank(world.rank()), ranks(world.size()) {
    auto transport = std::make_unique<CountingTransport>(world.transport(60), rounds);
    collectives = make_collectives(std::move(transport), schedule_named("ring"));
  }
  /// What `work` enqueues costs, in elements of `width` bytes.
  template <class Work>
  Cost cost_of(std::int64_t width, const Work& work) {
    const Traffic before = collectives->traffic();
    const std::int64_t rounds_before = rounds;
    work(*collectives, *stream);
    stream->synchronize();
    const Traffic after = collectives->traffic();
    return {rounds - rounds_before, after.messages - before.messages, (after.bytes - before.bytes) / width};
  }
  int rank, ranks;
  std::int64_t rounds = 0;
  std::unique_ptr<Collectives> collectives;
  std::unique_ptr<Stream> stream = make_stream(Device{});  // dies first
};

class TrafficOf : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, TrafficOf, testing::Range(1, 18));

TEST_P(TrafficOf, every_schedule_is_what_it_states) {
  run_ranks_as_threads(GetParam(), [](World& world) {
    for (const NamedSchedule& chosen : all_schedules()) {
      Summer summer(world, chosen);
      for (const std::int64_t count : {0, 1, 97}) expect_exact_sum<float>(summer, count);
    }
  });
}

TEST_P(TrafficOf, gather_broadcast_and_barrier_is_that_of_their_plans) {
  run_ranks_as_threads(GetParam(), [](World& world) {
    Counted counted(world);
    for (const std::int64_t count : {0, 1, 97}) {
      std::vector<std::int64_t> mine(static_cast<std::size_t>(count), counted.rank);
      std::vector<std::int64_t> all(mine.size() * static_cast<std::size_t>(counted.ranks), -1);
      const auto gather = counted.cost_of(8, [&](Collectives& collectives, Stream& stream) {
        collectives.gather(flat(std::span(mine)), flat(std::span(all)), stream);
      });
      EXPECT_EQ(gather, gather_plan(counted.rank, counted.ranks, count).cost());
      EXPECT_EQ(gather.elements, (counted.ranks - 1) * count) << "nobody sends more than it must";
      for (std::size_t i = 0; i < all.size(); ++i)
        ASSERT_EQ(all[i], static_cast<std::int64_t>(i / mine.size()));
      const int root = counted.ranks / 2;
      const auto broadcast = counted.cost_of(8, [&](Collectives& collectives, Stream& stream) {
        collectives.broadcast(flat(std::span(mine)), root, stream);
      });
      EXPECT_EQ(broadcast, broadcast_plan(counted.rank, counted.ranks, root, count).cost());
      for (const auto each : mine) ASSERT_EQ(each, root);
    }
    const auto barrier =
        counted.cost_of(1, [](Collectives& collectives, Stream& stream) { collectives.barrier(stream); });
    EXPECT_EQ(barrier, barrier_plan(counted.rank, counted.ranks).cost());
  });
}

// ---- values

class CollectiveValues : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, CollectiveValues, testing::Values(1, 2, 3, 5));

template <class T>
void expect_gathered(World& world, std::int64_t count) {
  const auto collectives = make_collectives(world.transport(60), schedule_named("ring"));
  const auto stream = make_stream(Device{});
  std::vector<T> mine(static_cast<std::size_t>(count));
  const auto value = [](int rank, std::size_t i) {
    return static_cast<T>(static_cast<float>((i * 3 + static_cast<std::size_t>(rank) * 50) % 200));
  };
  for (std::size_t i = 0; i < mine.size(); ++i) mine[i] = value(world.rank(), i);
  std::vector<T> all(mine.size() * static_cast<std::size_t>(world.size()));
  collectives->gather(flat(std::span<T>(mine)), flat(std::span<T>(all)), *stream);
  stream->synchronize();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const T expected = value(static_cast<int>(i / mine.size()), i % mine.size());
    ASSERT_EQ(std::memcmp(&all[i], &expected, sizeof(T)), 0) << i << " of " << count;
  }
}

TEST_P(CollectiveValues, gather_keeps_every_dtype_at_every_size) {
  run_ranks_as_threads(GetParam(), [](World& world) {
    for (const std::int64_t count : {0, 1, 1009}) {
      expect_gathered<double>(world, count);
      expect_gathered<Bf16>(world, count);
      expect_gathered<F16>(world, count);
      expect_gathered<std::int64_t>(world, count);
      expect_gathered<std::uint16_t>(world, count);
      expect_gathered<std::uint8_t>(world, count);
    }
    expect_gathered<float>(world, 100'003);
  });
}

TEST_P(CollectiveValues, broadcast_from_each_root_replaces_all_others) {
  run_ranks_as_threads(GetParam(), [](World& world) {
    const auto collectives = make_collectives(world.transport(60), schedule_named("ring"));
    const auto stream = make_stream(Device{});
    for (const std::int64_t count : {1, 1009, 100'003}) {
      for (int root = 0; root < world.size(); ++root) {
        auto data = normal_values(world.rank(), count);
        collectives->broadcast(flat(std::span(data)), root, *stream);
        stream->synchronize();
        ASSERT_EQ(data, normal_values(root, count)) << root << " " << count;
      }
    }
  });
}

TEST_P(CollectiveValues, exchange_takes_any_matching_messages) {
  run_ranks_as_threads(GetParam(), [](World& world) {
    const auto collectives = make_collectives(world.transport(60), schedule_named("ring"));
    const auto stream = make_stream(Device{});
    const int ranks = world.size();
    for (int shift = 0; shift < ranks; ++shift) {  // shift 0 is a message to oneself
      const int to = (world.rank() + shift) % ranks;
      const int from = (world.rank() + ranks - shift) % ranks;
      auto out = normal_values(world.rank(), 997 + shift);
      std::vector<float> in(out.size());
      const Send send{to, flat(std::span(out))};
      const Recv receive{from, flat(std::span(in))};
      collectives->exchange({&send, 1}, {&receive, 1}, *stream);
      stream->synchronize();
      ASSERT_EQ(in, normal_values(from, 997 + shift)) << shift;
    }
  });
}

TEST_P(CollectiveValues, exchange_of_a_star_and_of_nothing) {
  run_ranks_as_threads(GetParam(), [](World& world) {
    const auto collectives = make_collectives(world.transport(60), schedule_named("ring"));
    const auto stream = make_stream(Device{});
    const auto ranks = static_cast<std::size_t>(world.size());
    std::vector<std::int64_t> mine{100 + world.rank()};
    std::vector<std::int64_t> all(ranks, -1);
    std::vector<Send> sends;
    std::vector<Recv> receives;
    if (world.rank() == 0) {
      for (std::size_t peer = 1; peer < ranks; ++peer) {
        receives.push_back({static_cast<int>(peer), flat(std::span(all).subspan(peer, 1))});
      }
    } else {
      sends.push_back({0, flat(std::span(mine))});
    }
    collectives->exchange({}, {}, *stream);
    collectives->exchange(sends, receives, *stream);
    stream->synchronize();
    for (std::size_t peer = 1; world.rank() == 0 && peer < ranks; ++peer) {
      EXPECT_EQ(all[peer], 100 + static_cast<std::int64_t>(peer));
    }
    EXPECT_EQ(collectives->traffic().messages, world.rank() == 0 ? 0 : 1);
  });
}

TEST_P(CollectiveValues, collectives_of_every_kind_follow_each_other_on_one_stream) {
  run_ranks_as_threads(GetParam(), [](World& world) {
    const auto collectives = make_collectives(world.transport(60), schedule_named("halving_doubling"));
    const auto stream = make_stream(Device{});
    const int ranks = world.size();
    std::vector<std::int64_t> value{1};
    std::vector<std::int64_t> all(static_cast<std::size_t>(ranks));
    std::int64_t expected = 1;
    for (int round = 0; round < 10; ++round) {  // no waiting in between: the stream keeps the order
      collectives->sum(flat(std::span(value)), *stream);
      expected *= ranks;
      stream->host([&] { value[0] = value[0] % 1'000'003 + world.rank(); });
      expected %= 1'000'003;
      collectives->barrier(*stream);
      collectives->gather(flat(std::span(value)), flat(std::span(all)), *stream);
      const int root = round % ranks;
      collectives->broadcast(flat(std::span(value)), root, *stream);
      expected += root;
      stream->host([&] {
        const auto base = all[0];
        for (std::size_t rank = 0; rank < all.size(); ++rank) {
          EXPECT_EQ(all[rank], base + static_cast<std::int64_t>(rank));
        }
      });
    }
    stream->synchronize();
    EXPECT_EQ(value[0], expected);
  });
}

// ---- control

class ControlOn : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, ControlOn, testing::Values(1, 2, 3, 5));

TEST_P(ControlOn, sums_are_in_rank_order_in_double) {
  run_ranks_as_threads(GetParam(), [](World& world) {
    Control control(make_collectives(world.transport(60), schedule_named("halving_doubling")));
    // 1e16 + 1 + 1 - 1e16 differs by order: only 0, 1, 2, ... gives these bits.
    const auto part = [](int rank) { return rank == 0 ? 1e16 : rank == 3 ? -1e16 : 1.0; };
    double expected = part(0);
    for (int rank = 1; rank < world.size(); ++rank) expected += part(rank);
    std::vector<double> values{part(world.rank()), static_cast<double>(world.rank())};
    control.sum(values);
    EXPECT_EQ(values[0], expected);
    EXPECT_EQ(values[1], world.size() * (world.size() - 1) / 2);
    std::vector<double> none;
    EXPECT_NO_THROW(control.sum(none));
  });
}

TEST_P(ControlOn, texts_of_any_bytes_and_lengths_come_whole) {
  run_ranks_as_threads(GetParam(), [](World& world) {
    Control control(make_collectives(world.transport(60), schedule_named("ring")));
    const auto text_of = [](int rank) {
      return rank % 2 == 1 ? std::string()
                           : std::string(static_cast<std::size_t>(1 + rank * 1000), '\0') + "\xff end";
    };
    const auto all = control.gather(text_of(world.rank()));
    ASSERT_EQ(static_cast<int>(all.size()), world.size());
    for (int rank = 0; rank < world.size(); ++rank)
      EXPECT_EQ(all[static_cast<std::size_t>(rank)], text_of(rank));
    for (int root = 0; root < world.size(); ++root)
      EXPECT_EQ(control.broadcast(text_of(world.rank()), root), text_of(root));
    EXPECT_EQ(control.gather(std::string()),
              std::vector<std::string>(static_cast<std::size_t>(world.size())));
  });
}

TEST_P(ControlOn, maximum_takes_any_double) {
  run_ranks_as_threads(GetParam(), [](World& world) {
    Control control(make_collectives(world.transport(60), schedule_named("ring")));
    EXPECT_EQ(control.maximum(world.rank() == world.size() - 1 ? -1e-300 : -1e300), -1e-300);
    EXPECT_EQ(control.maximum(world.rank() == 0 ? HUGE_VAL : 0), HUGE_VAL);
    EXPECT_EQ(control.rank(), world.rank());
    EXPECT_EQ(control.size(), world.size());
  });
}

}  // namespace
}  // namespace lockstep::comm
