// Checks of real sums over a World, the same for ranks as threads and under mpirun.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "comm/collectives.h"
#include "comm/transport.h"
#include "core/hash.h"
#include "core/random.h"
#include "tests/comm/plans.h"

namespace lockstep::comm {

/// Counts the rounds a transport is asked for.
class CountingTransport final : public Transport {
 public:
  CountingTransport(std::unique_ptr<Transport> inner, std::int64_t& rounds)
      : inner_(std::move(inner)), rounds_(rounds) {}
  int rank() const noexcept override { return inner_->rank(); }
  int size() const noexcept override { return inner_->size(); }
  Topology topology() const override { return inner_->topology(); }
  void transfer(std::span<const Send> sends, std::span<const Recv> receives, const Operation& operation,
                Stream& stream) override {
    ++rounds_;
    inner_->transfer(sends, receives, operation, stream);
  }
  std::unique_ptr<Transport> duplicate() override { return inner_->duplicate(); }
  Traffic traffic() const noexcept override { return inner_->traffic(); }
  bool library_sum(FlatSpan data, const Operation& operation, Stream& stream) override {
    return inner_->library_sum(data, operation, stream);
  }
  Memory shared_memory(std::size_t bytes) override { return inner_->shared_memory(bytes); }
  bool shared_sum(const Plan& plan, FlatSpan data, const Operation& operation, Stream& stream) override {
    const bool taken = inner_->shared_sum(plan, data, operation, stream);
    if (taken) rounds_ += static_cast<std::int64_t>(plan.rounds.size());
    return taken;
  }

 private:
  std::unique_ptr<Transport> inner_;
  std::int64_t& rounds_;
};

/// One rank's sums by one schedule, with counted rounds.
struct Summer {
  Summer(World& world, const NamedSchedule& chosen)
      : name(chosen.name),
        schedule(chosen.schedule),
        topology(world.transport(60)->topology()),
        collectives(
            make_collectives(std::make_unique<CountingTransport>(world.transport(60), rounds), schedule)),
        stream(make_stream(Device{})) {}

  std::string name;
  std::shared_ptr<const Schedule> schedule;
  Topology topology;
  std::int64_t rounds = 0;
  std::unique_ptr<Collectives> collectives;
  std::unique_ptr<Stream> stream;  // dies first

  template <class T>
  void sum(std::vector<T>& data) {
    collectives->sum(flat(std::span(data)), *stream);
    stream->synchronize();
  }
};

/// Sums of these over at most 17 ranks are exact in every type, bf16 included.
template <class T>
T small_integer(std::size_t i, int rank) {
  return static_cast<T>(static_cast<float>((i * 7 + static_cast<std::size_t>(rank) * 3) % 13));
}

/// Sums exactly, with traffic and rounds as stated.
template <class T>
void expect_exact_sum(Summer& summer, std::int64_t count) {
  const int ranks = summer.topology.ranks();
  const int rank = summer.collectives->rank();
  std::vector<T> data(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = small_integer<T>(i, rank);
  const Traffic before = summer.collectives->traffic();
  const std::int64_t rounds_before = summer.rounds;
  summer.sum(data);
  for (std::size_t i = 0; i < data.size(); ++i) {
    float expected = 0;
    for (int each = 0; each < ranks; ++each) expected += static_cast<float>(small_integer<T>(i, each));
    ASSERT_EQ(static_cast<float>(data[i]), expected)
        << summer.name << ", " << ranks << " ranks, element " << i;
  }
  if (summer.schedule->library()) return;
  const Traffic after = summer.collectives->traffic();
  const Cost counted{summer.rounds - rounds_before, after.messages - before.messages,
                     (after.bytes - before.bytes) / static_cast<std::int64_t>(sizeof(T))};
  const Cost stated = summer.schedule->stated_cost(rank, summer.topology, count);
  ASSERT_EQ(counted, stated) << summer.name << ", " << ranks << " ranks, " << count << " elements: counted "
                             << counted.rounds << " " << counted.messages << " " << counted.elements
                             << ", stated " << stated.rounds << " " << stated.messages << " "
                             << stated.elements;
}

inline std::vector<float> normal_values(int rank, std::int64_t count) {
  const RandomSource random(5, "test", static_cast<std::uint64_t>(rank));
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.normal(i);
  return values;
}

/// Random floats: every rank ends with the same bits, and, for our own schedules, with the bits of the plans
/// in memory.
inline void expect_same_bits(World& world, Summer& summer, std::int64_t count) {
  auto mine = normal_values(world.rank(), count);
  summer.sum(mine);
  Control control(summer.collectives->duplicate());
  const auto hashes = control.gather(static_cast<std::int64_t>(hash_floats(mine)));
  for (const auto hash : hashes) ASSERT_EQ(hash, hashes[0]) << summer.name;
  if (summer.schedule->library()) return;
  std::vector<std::vector<float>> arrays;
  for (int rank = 0; rank < world.size(); ++rank) arrays.push_back(normal_values(rank, count));
  run_plans(*summer.schedule, arrays, summer.topology);
  if (count > 0) {
    ASSERT_EQ(std::memcmp(mine.data(), arrays[0].data(), mine.size() * sizeof(float)), 0) << summer.name;
  }
}

/// All of it for every schedule. Collective.
inline void expect_all_schedules_sum(World& world, std::int64_t large) {
  for (const NamedSchedule& chosen : all_schedules()) {
    Summer summer(world, chosen);
    const std::int64_t ranks = world.size();
    for (std::int64_t count :
         {std::int64_t{0}, std::int64_t{1}, ranks - 1, ranks, ranks + 1, std::int64_t{97}, large}) {
      expect_exact_sum<float>(summer, count);
      expect_exact_sum<double>(summer, count);
      expect_exact_sum<Bf16>(summer, count);
      expect_exact_sum<std::int32_t>(summer, count);
      expect_same_bits(world, summer, count);
    }
  }
}

}  // namespace lockstep::comm
