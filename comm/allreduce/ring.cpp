// Ring all-reduce (Patarasuk & Yuan, JPDC 2009): p chunks travel round the ring, p-1 steps adding
// (reduce-scatter), p-1 steps replacing (all-gather). Bandwidth-optimal at any p: 2(p-1)/p of the array sent
// per rank. A step is one round, or one round per segment: then what arrives is added while it is still in
// the cache. Element order: chunk c is summed from rank c onwards round the ring, so bits depend on the
// element's place in the array.
#include <algorithm>

#include "comm/allreduce/rows.h"

namespace lockstep::comm {
namespace {

constexpr Setting kSettings[] = {
    {"segment", SettingType::integer, "0",
     "elements of a chunk sent in one round; 0: the whole chunk. Smaller ones are added in the cache, but "
     "each costs a round",
     "[0,inf)"},
};

/// How a chunk of at most `longest` elements is cut into rounds.
struct Segments {
  Segments(std::int64_t segment, std::int64_t longest)
      : size(segment > 0 ? segment : std::max<std::int64_t>(longest, 1)),
        rounds((longest + size - 1) / size) {}
  [[nodiscard]] Range of(Range chunk, std::int64_t index) const {
    const std::int64_t start = std::min(index * size, chunk.count);
    return {chunk.first + start, std::min(size, chunk.count - start)};
  }
  /// Segments of a chunk that are not empty.
  [[nodiscard]] std::int64_t in(Range chunk) const { return (chunk.count + size - 1) / size; }
  std::int64_t size;
  std::int64_t rounds;
};

class Ring final : public Schedule {
 public:
  explicit Ring(std::int64_t segment) : segment_(segment) {}
  Plan plan(int rank, const Topology& topology, std::int64_t count) const override {
    return ring_plan(rank, topology.ranks(), count, segment_);
  }
  Cost stated_cost(int rank, const Topology& topology, std::int64_t count) const override {
    return ring_cost(rank, topology.ranks(), count, segment_);
  }
  std::string_view name() const noexcept override { return "ring all-reduce"; }
  bool layout_invariant() const noexcept override { return false; }

 private:
  std::int64_t segment_;
};

}  // namespace

Plan ring_plan(int rank, int ranks, std::int64_t count, std::int64_t segment) {
  Plan plan;
  if (ranks == 1 || count == 0) return plan;
  const int right = (rank + 1) % ranks;
  const int left = (rank + ranks - 1) % ranks;
  const auto chunk = [&](int index) { return chunk_of({0, count}, ranks, (index + 2 * ranks) % ranks); };
  const Segments segments(segment, chunk(0).count);
  const auto step = [&](int sent, int received, Arrival arrival) {
    for (std::int64_t each = 0; each < segments.rounds; ++each) {
      Round& round = plan.rounds.emplace_back();
      send(round, right, segments.of(chunk(sent), each));
      receive(round, left, segments.of(chunk(received), each), arrival);
    }
  };
  for (int i = 0; i < ranks - 1; ++i) step(rank - i, rank - 1 - i, Arrival::add_as_left);
  for (int i = 0; i < ranks - 1; ++i) step(rank + 1 - i, rank - i, Arrival::replace);
  return plan;
}

// The first phase sends every chunk but rank + 1, the second every chunk but rank + 2.
Cost ring_cost(int rank, int ranks, std::int64_t count, std::int64_t segment) {
  if (ranks == 1 || count == 0) return {};
  const Segments segments(segment, chunk_of({0, count}, ranks, 0).count);
  Cost cost{.rounds = 2 * (static_cast<std::int64_t>(ranks) - 1) * segments.rounds};
  for (int index = 0; index < ranks; ++index) {
    const Range chunk = chunk_of({0, count}, ranks, index);
    const int times = 2 - (index == (rank + 1) % ranks) - (index == (rank + 2) % ranks);
    cost.messages += times * segments.in(chunk);
    cost.elements += times * chunk.count;
  }
  return cost;
}

std::unique_ptr<Schedule> make_ring(const Options& options) {
  return std::make_unique<Ring>(options.integer("segment"));
}

std::span<const Setting> ring_settings() noexcept { return kSettings; }

}  // namespace lockstep::comm
