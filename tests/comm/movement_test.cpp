// Plans of gather, broadcast and barrier: stated rounds and bytes, and every send has its receive. What a
// transport is told of recorded work.
#include "comm/movement.h"

#include <gtest/gtest.h>

#include <bit>
#include <functional>
#include <vector>

#include "comm/collectives.h"
#include "tests/comm/sums.h"

namespace lockstep::comm {
namespace {

int rounds_for(int ranks) { return static_cast<int>(std::bit_width(static_cast<unsigned>(ranks) - 1u)); }

/// Every send of a round meets a receive of the same range length on the peer, in order.
void expect_matched(int ranks, const std::function<Plan(int)>& plan_of) {
  std::vector<Plan> plans;
  for (int rank = 0; rank < ranks; ++rank) plans.push_back(plan_of(rank));
  for (int rank = 0; rank < ranks; ++rank) {
    for (std::size_t round = 0; round < plans[static_cast<std::size_t>(rank)].rounds.size(); ++round) {
      for (int peer = 0; peer < ranks; ++peer) {
        std::vector<std::int64_t> sent;
        std::vector<std::int64_t> received;
        for (const auto& send : plans[static_cast<std::size_t>(rank)].rounds[round].sends) {
          if (send.to == peer) sent.push_back(send.range.count);
        }
        for (const auto& receive : plans[static_cast<std::size_t>(peer)].rounds[round].receives) {
          if (receive.from == rank) received.push_back(receive.range.count);
        }
        EXPECT_EQ(sent, received) << rank << " to " << peer << " in round " << round << " of " << ranks
                                  << " ranks";
      }
    }
  }
}

TEST(Gather, costs_bruck_rounds_and_bytes) {
  for (int ranks = 1; ranks <= 17; ++ranks) {
    expect_matched(ranks, [&](int rank) { return gather_plan(rank, ranks, 11); });
    for (int rank = 0; rank < ranks; ++rank) {
      const Cost cost = gather_plan(rank, ranks, 11).cost();
      EXPECT_EQ(cost.rounds, rounds_for(ranks));
      EXPECT_EQ(cost.elements, (ranks - 1) * 11);
      EXPECT_LE(cost.messages, 2 * cost.rounds);
    }
  }
}

TEST(Broadcast, costs_a_binomial_tree) {
  for (int ranks = 1; ranks <= 17; ++ranks) {
    for (int root = 0; root < ranks; ++root) {
      expect_matched(ranks, [&](int rank) { return broadcast_plan(rank, ranks, root, 5); });
      std::int64_t messages = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const Cost cost = broadcast_plan(rank, ranks, root, 5).cost();
        EXPECT_EQ(cost.rounds, rounds_for(ranks));
        messages += cost.messages;
      }
      EXPECT_EQ(messages, ranks - 1) << "each rank but the root receives once";
    }
  }
}

TEST(Barrier, costs_one_message_a_round) {
  for (int ranks = 1; ranks <= 17; ++ranks) {
    expect_matched(ranks, [&](int rank) { return barrier_plan(rank, ranks); });
    const Cost cost = barrier_plan(0, ranks).cost();
    EXPECT_EQ(cost.rounds, rounds_for(ranks));
    EXPECT_EQ(cost.messages, cost.rounds);
  }
}

TEST(Plans, no_elements_need_no_rounds) {
  EXPECT_TRUE(gather_plan(1, 4, 0).rounds.empty());
  EXPECT_TRUE(broadcast_plan(1, 4, 0, 0).rounds.empty());
}

/// Keeps what it is told to watch.
class WatchedTransport final : public Transport {
 public:
  explicit WatchedTransport(std::vector<Operation>& told) : told_(told) {}
  int rank() const noexcept override { return 0; }
  int size() const noexcept override { return 1; }
  void transfer(std::span<const Send>, std::span<const Recv>, const Operation&, Stream&) override {}
  std::unique_ptr<Transport> duplicate() override { return nullptr; }
  Traffic traffic() const noexcept override { return {}; }
  void watch(const Operation& operation, const Event&, const Event&, Stream&) override {
    told_.push_back(operation);
  }

 private:
  std::vector<Operation>& told_;
};

TEST(RecordedWork, is_watched_as_an_operation_of_its_own_each_time_it_runs) {
  std::vector<Operation> told;
  const auto collectives = make_collectives(std::make_unique<WatchedTransport>(told), schedule_named("ring"));
  const auto stream = make_stream(Device{});
  std::vector<float> data(3);
  collectives->sum(flat(std::span(data)), *stream);
  for (int run = 0; run < 2; ++run) collectives->replayed(96, stream->record(), stream->record(), *stream);
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0].sequence, 2);
  EXPECT_EQ(told[1].sequence, 3);
  EXPECT_EQ(told[1].bytes, 96);
}

}  // namespace
}  // namespace lockstep::comm
