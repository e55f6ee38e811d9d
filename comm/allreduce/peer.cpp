// GPUs of one node add up in memory that they map from each other, by loads and stores over NVLink
// (comm/peer): short arrays in one shot, where everyone adds all of them; long ones in two, where everyone
// adds its chunk and writes it to all; very long ones are brought and handed back by copy engines. As
// `shared`, which this is for host memory, with the same bits.
#include "comm/allreduce/peer.h"

#include "comm/allreduce/rows.h"

namespace lockstep::comm {
namespace {

constexpr Setting kSettings[] = {
    {"one_shot", SettingType::integer, "65536",
     "up to so many elements from others a rank adds all arrays itself, which saves a meeting of all ranks",
     "[0,131072]"},
    {"copies_from", SettingType::integer, "8388608",
     "arrays of so many elements are moved by copy engines in both shots: they fill the links and leave "
     "multiprocessors to others",
     "[0,inf)"},
    {"blocks", SettingType::integer, "64", "thread blocks (multiprocessors) of a sum in two shots",
     "[1,128]"},
};

class Peer final : public Schedule {
 public:
  Peer(std::unique_ptr<Schedule> plans, const PeerSums& sums) : plans_(std::move(plans)), sums_(sums) {}

  Plan plan(int rank, const Topology& topology, std::int64_t count) const override {
    return plans_->plan(rank, topology, count);
  }
  Cost stated_cost(int rank, const Topology& topology, std::int64_t count) const override {
    return plans_->stated_cost(rank, topology, count);
  }
  std::string_view name() const noexcept override { return "peer all-reduce"; }
  bool shared() const noexcept override { return true; }
  bool layout_invariant() const noexcept override { return plans_->layout_invariant(); }
  const PeerSums* peer() const noexcept override { return &sums_; }

 private:
  std::unique_ptr<Schedule> plans_;
  PeerSums sums_;
};

}  // namespace

std::unique_ptr<Schedule> make_peer(const Options& options) {
  return std::make_unique<Peer>(make_shared_plans(options.integer("one_shot")),
                                PeerSums{.copies_from = options.integer("copies_from"),
                                         .blocks = static_cast<int>(options.integer("blocks"))});
}

std::span<const Setting> peer_settings() noexcept { return kSettings; }

}  // namespace lockstep::comm
