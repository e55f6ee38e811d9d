// Double binary tree (Sanders, Speck & Traff 2009; NCCL 2.4): two trees, each carries half of the array up
// (adding) and down (replacing), cut into segments that follow one another through the tree. O(log p) rounds
// plus one per segment, at most two array lengths sent per rank for any p >= 2. Segment s of both trees goes
// up from depth d in round s + D - d and down to depth d in round s + D + d - 1.
#include "comm/allreduce/double_tree.h"

#include <algorithm>
#include <bit>

#include "comm/allreduce/rows.h"

namespace lockstep::comm {
namespace {

constexpr Setting kSettings[] = {
    {"segment", SettingType::integer, "0",
     "elements of a pipelined segment: small fills the pipeline sooner, large sends fewer messages; 0: eight "
     "segments for each level of a tree",
     "[0,inf)"},
};

/// Filling and draining the pipeline then adds a quarter to the time of its segments, however many ranks
/// there are. Shorter ones are all latency, and longer ones take too much memory to receive.
constexpr std::int64_t kSegmentsPerLevel = 8, kShortest = 32768, kLongest = std::int64_t{4} << 20;

TreePlace relabelled(TreePlace place, auto&& label) {
  for (int* rank : {&place.parent, &place.lower, &place.higher}) {
    if (*rank >= 0) *rank = label(*rank);
  }
  return place;
}

class DoubleTree final : public Schedule {
 public:
  explicit DoubleTree(std::int64_t segment) : segment_(segment) {}

  Plan plan(int rank, const Topology& topology, std::int64_t count) const override {
    const int ranks = topology.ranks();
    Plan plan;
    if (ranks == 1 || count == 0) return plan;
    plan.rounds.resize(static_cast<std::size_t>(rounds(ranks, count)));
    const auto places = double_tree_places(rank, ranks);
    const std::int64_t length = length_of(ranks, count);
    for (int tree = 0; tree < 2; ++tree) {
      const Range half = chunk_of({0, count}, 2, tree);
      const auto index = static_cast<std::size_t>(tree);
      for (std::int64_t segment = 0; segment < pieces(half.count, length); ++segment) {
        const std::int64_t start = segment * length;
        add_segment(plan, places[index], tree_depth(ranks), segment,
                    {half.first + start, std::min(length, half.count - start)});
      }
    }
    return plan;
  }

  // Each tree: a message a segment to the parent, and one to each child.
  Cost stated_cost(int rank, const Topology& topology, std::int64_t count) const override {
    const int ranks = topology.ranks();
    if (ranks == 1 || count == 0) return {};
    Cost cost{.rounds = rounds(ranks, count)};
    const auto places = double_tree_places(rank, ranks);
    for (int tree = 0; tree < 2; ++tree) {
      const std::int64_t half = chunk_of({0, count}, 2, tree).count;
      const TreePlace& place = places[static_cast<std::size_t>(tree)];
      const std::int64_t edges = (place.parent >= 0) + (place.lower >= 0) + (place.higher >= 0);
      cost.messages += edges * pieces(half, length_of(ranks, count));
      cost.elements += edges * half;
    }
    return cost;
  }

  std::string_view name() const noexcept override { return "double-tree all-reduce"; }
  bool layout_invariant() const noexcept override { return false; }

 private:
  static std::int64_t pieces(std::int64_t count, std::int64_t length) {
    return (count + length - 1) / length;
  }

  /// Of a segment, in both trees.
  std::int64_t length_of(int ranks, std::int64_t count) const {
    if (segment_ > 0) return segment_;
    return std::clamp(pieces(longer_half(count), kSegmentsPerLevel * tree_depth(ranks)), kShortest, kLongest);
  }
  static std::int64_t longer_half(std::int64_t count) { return count - count / 2; }

  std::int64_t rounds(int ranks, std::int64_t count) const {
    return pieces(longer_half(count), length_of(ranks, count)) + 2 * tree_depth(ranks) - 1;
  }

  static void add_segment(Plan& plan, const TreePlace& place, int deepest, std::int64_t segment,
                          Range range) {
    const auto round = [&](int offset) -> Round& {
      return plan.rounds[static_cast<std::size_t>(segment + offset)];
    };
    const int up = deepest - place.depth;
    const int down = deepest + place.depth;
    if (place.lower >= 0) receive(round(up - 1), place.lower, range, Arrival::add_as_left);
    if (place.higher >= 0) receive(round(up - 1), place.higher, range, Arrival::add_as_right);
    if (place.parent >= 0) {
      send(round(up), place.parent, range);
      receive(round(down - 1), place.parent, range, Arrival::replace);
    }
    if (place.lower >= 0) send(round(down), place.lower, range);
    if (place.higher >= 0) send(round(down), place.higher, range);
  }

  std::int64_t segment_;
};

}  // namespace

TreePlace binary_tree_place(int rank, int ranks) noexcept {
  TreePlace place;
  if (rank == 0) {
    if (ranks > 1) place.higher = static_cast<int>(std::bit_floor(static_cast<unsigned>(ranks - 1)));
    return place;
  }
  const int bit = rank & -rank;
  place.parent = (rank ^ bit) | (bit << 1);
  if (place.parent >= ranks) place.parent = rank ^ bit;
  int low = bit >> 1;
  place.lower = low > 0 ? rank - low : -1;
  while (low > 0 && rank + low >= ranks) low >>= 1;
  place.higher = low > 0 ? rank + low : -1;
  for (int at = rank; at != 0; ++place.depth) {
    const int lowest = at & -at;
    const int above = (at ^ lowest) | (lowest << 1);
    at = above < ranks ? above : at ^ lowest;
  }
  return place;
}

std::array<TreePlace, 2> double_tree_places(int rank, int ranks) noexcept {
  const TreePlace first = binary_tree_place(rank, ranks);
  if (ranks % 2 == 0) {
    const auto mirror = [ranks](int each) { return ranks - 1 - each; };
    return {first, relabelled(binary_tree_place(mirror(rank), ranks), mirror)};
  }
  const auto back = [ranks](int each) { return (each + 1) % ranks; };
  return {first, relabelled(binary_tree_place((rank + ranks - 1) % ranks, ranks), back)};
}

int tree_depth(int ranks) noexcept {
  return static_cast<int>(std::bit_width(static_cast<unsigned>(ranks - 1)));
}

std::unique_ptr<Schedule> make_double_tree(const Options& options) {
  return std::make_unique<DoubleTree>(options.integer("segment"));
}

std::span<const Setting> double_tree_settings() noexcept { return kSettings; }

}  // namespace lockstep::comm
