#include "comm/autotune/sweep.h"

#include <algorithm>
#include <chrono>

#include "comm/bench_allreduce.h"
#include "comm/collectives.h"
#include "core/memory.h"
#include "core/vector/vector.h"

namespace lockstep::comm {
namespace {

using Clock = std::chrono::steady_clock;
using Points = std::vector<std::pair<double, double>>;

constexpr std::int64_t kSizes[] = {4, 4096, 65'536, 1 << 20};  // bytes of a swap
constexpr int kTurns = 5;                                      // the least disturbed counts

/// One rank's side of the sweep.
class Sweep {
 public:
  Sweep(World& world, double deadline_s)
      : transport_(world.transport(deadline_s)),
        topology_(transport_->topology()),
        control_(make_collectives(world.transport(deadline_s),
                                  schedules().create("recursive_doubling", Options()))),
        stream_(make_stream(Device{}, {.name = "sweep"})),
        out_(make_array(Device{}, Dtype::u8, kSizes[3])),
        in_(make_array(Device{}, Dtype::u8, kSizes[3])) {}

  /// Swaps with `partner` (-1: watches): time of a swap is what a message costs both ways at once.
  Line link(int partner) {
    Points points;
    for (const std::int64_t bytes : kSizes) {
      double best = 1e9;
      for (int turn = 0; turn < kTurns; ++turn) best = std::min(best, swap_s(partner, bytes));
      points.emplace_back(static_cast<double>(bytes), control_.maximum(partner < 0 ? 0 : best));
    }
    return points.front().second > 0 ? fit_line(points) : Line{};
  }

  double add_s_per_byte() {
    const FlatArray left = make_array(Device{}, Dtype::f32, 1 << 18);
    const FlatArray right = make_array(Device{}, Dtype::f32, 1 << 18);
    double best = 1e9;
    for (int turn = 0; turn < kTurns; ++turn) {
      best = std::min(best, timed([&] { vector::sum(left.span, right.span, right.span, *stream_); }));
    }
    return control_.maximum(best) / static_cast<double>(left.span.bytes());
  }

  /// The neighbour inside the node, and the same place in the neighbouring node; -1: nobody.
  [[nodiscard]] int neighbour(bool inside) const {
    const int rank = transport_->rank();
    const int node = topology_.node_of(rank);
    const std::vector<int> mine = topology_.ranks_of(node);
    const auto place = std::find(mine.begin(), mine.end(), rank) - mine.begin();
    if (inside) return at(mine, place ^ 1);
    return (node ^ 1) < topology_.nodes() ? at(topology_.ranks_of(node ^ 1), place) : -1;
  }

 private:
  static int at(const std::vector<int>& ranks, std::ptrdiff_t place) {
    return place < static_cast<std::ptrdiff_t>(ranks.size()) ? ranks[static_cast<std::size_t>(place)] : -1;
  }

  template <class Work>
  double timed(const Work& work) {
    Clock::time_point start, end;
    stream_->host([&] { start = Clock::now(); });
    work();
    stream_->host([&] { end = Clock::now(); });
    stream_->synchronize();
    return std::chrono::duration<double>(end - start).count();
  }

  double swap_s(int partner, std::int64_t bytes) {
    control_.barrier();
    if (partner < 0) return 0;
    const Send send{partner, out_.span.part(0, bytes)};
    const Recv receive{partner, in_.span.part(0, bytes)};
    return timed([&] { transport_->transfer({&send, 1}, {&receive, 1}, {.name = "sweep"}, *stream_); });
  }

  std::unique_ptr<Transport> transport_;
  Topology topology_;
  Control control_;
  std::unique_ptr<Stream> stream_;
  FlatArray out_;
  FlatArray in_;
};

}  // namespace

CostModel measure_costs(World& world, double deadline_s) {
  CostModel model;
  Sweep sweep(world, deadline_s);
  model.inside = sweep.link(sweep.neighbour(true));
  model.across = sweep.link(sweep.neighbour(false));
  if (model.across.s_per_byte == 0) model.across = model.inside;
  if (model.inside.s_per_byte == 0) model.inside = model.across;
  model.add_s_per_byte = sweep.add_s_per_byte();
  AllreduceBench bench{.min_bytes = 64 << 10,
                       .max_bytes = 4 << 20,
                       .factor = 64,
                       .warmup = 1,
                       .iterations = 3,
                       .deadline_s = deadline_s,
                       .schedules = bench_schedules({"shared", "library"})};
  std::map<std::string, Points> points;
  for (const AllreduceRow& row : bench_allreduce(world, bench)) {
    points[row.schedule].emplace_back(static_cast<double>(row.bytes), row.min_s);
  }
  for (const auto& [name, measured] : points) model.whole[name] = fit_line(measured);
  return model;
}

}  // namespace lockstep::comm
