// The transport's own all-reduce (MPI_Allreduce): whatever the library picks, often fast, with bits that may
// depend on anything. A transport without one runs halving-doubling instead.
#include "comm/allreduce/rows.h"

namespace lockstep::comm {
namespace {

class Library final : public Schedule {
 public:
  explicit Library(std::unique_ptr<Schedule> own) : own_(std::move(own)) {}

  Plan plan(int rank, const Topology& topology, std::int64_t count) const override {
    return own_->plan(rank, topology, count);
  }
  Cost stated_cost(int rank, const Topology& topology, std::int64_t count) const override {
    return own_->stated_cost(rank, topology, count);
  }
  std::string_view name() const noexcept override { return "library all-reduce"; }
  bool library() const noexcept override { return true; }
  bool layout_invariant() const noexcept override { return false; }

 private:
  std::unique_ptr<Schedule> own_;
};

}  // namespace

std::unique_ptr<Schedule> make_library(const Options& options) {
  return std::make_unique<Library>(make_halving_doubling(options));
}

}  // namespace lockstep::comm
