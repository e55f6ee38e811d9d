// Ranks of one node add up in place, in memory that all of them reach (Transport::shared_sum): short arrays
// in one meeting, where everyone adds all of them; long ones in two, where everyone adds its chunk of all
// arrays and writes it to all. Nothing is copied in or out of arrays that the transport owns
// (Transport::shared_memory). Where ranks are on several nodes halving-doubling runs over messages; where the
// transport shares no memory, the plan does. All of them add in the balanced tree over ranks, so the bits are
// the same everywhere.
#include "comm/allreduce/rows.h"

namespace lockstep::comm {
namespace {

constexpr Setting kSettings[] = {
    {"one_shot", SettingType::integer, "8192",
     "up to so many elements from others a rank adds all arrays itself, which saves a meeting of all ranks",
     "[0,65536]"},
};

class Shared final : public Schedule {
 public:
  explicit Shared(std::int64_t one_shot) : one_shot_(one_shot) {}

  Plan plan(int rank, const Topology& topology, std::int64_t count) const override {
    const int ranks = topology.ranks();
    if (topology.nodes() > 1) return halving_doubling_plan(rank, ranks, count);
    return at_once(ranks, count) ? one_shot_plan(rank, ranks, count) : two_shot_plan(rank, ranks, count);
  }
  Cost stated_cost(int rank, const Topology& topology, std::int64_t count) const override {
    const int ranks = topology.ranks();
    if (topology.nodes() > 1) return halving_doubling_cost(rank, ranks, count);
    return at_once(ranks, count) ? one_shot_cost(ranks, count) : two_shot_cost(rank, ranks, count);
  }
  std::string_view name() const noexcept override { return "shared-memory all-reduce"; }
  bool shared() const noexcept override { return true; }
  bool layout_invariant() const noexcept override { return true; }

 private:
  [[nodiscard]] bool at_once(int ranks, std::int64_t count) const { return (ranks - 1) * count <= one_shot_; }

  std::int64_t one_shot_;
};

}  // namespace

std::unique_ptr<Schedule> make_shared_memory(const Options& options) {
  return make_shared_plans(options.integer("one_shot"));
}

std::unique_ptr<Schedule> make_shared_plans(std::int64_t one_shot) {
  return std::make_unique<Shared>(one_shot);
}

std::span<const Setting> shared_memory_settings() noexcept { return kSettings; }

}  // namespace lockstep::comm
