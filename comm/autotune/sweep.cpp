#include "comm/autotune/sweep.h"

#include <algorithm>

#include "comm/bench_allreduce.h"
#include "comm/collectives.h"
#include "comm/device_transport.h"
#include "comm/named.h"
#include "core/memory.h"
#include "core/stopwatch.h"
#include "core/vector/vector.h"

namespace lockstep::comm {
namespace {

using Points = std::vector<std::pair<double, double>>;

constexpr int kTurns = 5;  // the least disturbed counts

/// Where the numbers are taken. A GPU's links show their speed later than a host's, and its work is timed in
/// a row because what is enqueued alone is timed with its launch.
struct Grid {
  std::vector<std::int64_t> swaps;  ///< bytes
  std::int64_t added = 0;           ///< elements
  int in_a_row = 1;
  std::int64_t whole_from = 0, whole_to = 0;  ///< bytes of sums that run no plan
  std::int64_t whole_factor = 2;
};

const Grid& grid_of(Device device) {
  static const Grid kHost{{4, 4096, 65'536, 1 << 20}, 1 << 18, 1, 64 << 10, 4 << 20, 64};
  static const Grid kGpu{{4, 65'536, 1 << 20, 16 << 20}, 4 << 20, 8, 64 << 10, 64 << 20, 32};
  return device.kind == DeviceKind::cpu ? kHost : kGpu;
}

std::unique_ptr<Transport> messages_of(World& world, const SweepOptions& options) {
  const auto [name, settings] = part_called(transports(), options.transport);
  return transports().create(name, settings, world, {options.device, options.deadline_s});
}

/// One rank's side of the sweep.
class Sweep {
 public:
  Sweep(World& world, const SweepOptions& options)
      : device_(options.device),
        grid_(grid_of(device_)),
        transport_(messages_of(world, options)),
        topology_(transport_->topology()),
        control_(make_collectives(world.transport(options.deadline_s),
                                  schedules().create("recursive_doubling", Options()))),
        stream_(make_stream(device_, {.name = "sweep"})),
        stopwatch_(make_stopwatch(device_)),
        out_(make_array(device_, Dtype::u8, grid_.swaps.back())),
        in_(make_array(device_, Dtype::u8, grid_.swaps.back())) {}

  /// Swaps with `partner` (-1: watches): time of a swap is what a message costs both ways at once.
  Line link(int partner) {
    Points points;
    for (const std::int64_t bytes : grid_.swaps) {
      double best = 1e9;
      for (int turn = 0; turn < kTurns; ++turn) best = std::min(best, swap_s(partner, bytes));
      points.emplace_back(static_cast<double>(bytes), control_.maximum(partner < 0 ? 0 : best));
    }
    return points.front().second > 0 ? fit_line(points) : Line{};
  }

  double add_s_per_byte() {
    const FlatArray left = make_array(device_, Dtype::f32, grid_.added);
    const FlatArray right = make_array(device_, Dtype::f32, grid_.added);
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

  /// Seconds of `work`, enqueued as often as the device needs.
  template <class Work>
  double timed(const Work& work) {
    stopwatch_->start(*stream_);
    for (int i = 0; i < grid_.in_a_row; ++i) work();
    stopwatch_->stop(*stream_);
    stream_->synchronize();
    return stopwatch_->seconds() / grid_.in_a_row;
  }

  double swap_s(int partner, std::int64_t bytes) {
    control_.barrier();
    if (partner < 0) return 0;
    const Send send{partner, out_.span.part(0, bytes)};
    const Recv receive{partner, in_.span.part(0, bytes)};
    return timed([&] { transport_->transfer({&send, 1}, {&receive, 1}, {.name = "sweep"}, *stream_); });
  }

  Device device_;
  const Grid& grid_;
  std::unique_ptr<Transport> transport_;
  Topology topology_;
  Control control_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Stopwatch> stopwatch_;
  FlatArray out_;
  FlatArray in_;
};

/// A line for each sum that runs no plan.
std::map<std::string, Line> measure_whole(World& world, const SweepOptions& options) {
  const Grid& grid = grid_of(options.device);
  const AllreduceBench bench{.min_bytes = grid.whole_from,
                             .max_bytes = grid.whole_to,
                             .factor = grid.whole_factor,
                             .warmup = 1,
                             .iterations = 3,
                             .deadline_s = options.deadline_s,
                             .device = options.device,
                             .transport = options.transport,
                             .schedules = bench_schedules(options.whole)};
  std::map<std::string, Points> points;
  for (const AllreduceRow& row : bench_allreduce(world, bench))
    points[row.schedule].emplace_back(static_cast<double>(row.bytes), row.min_s);
  std::map<std::string, Line> lines;
  for (const auto& [name, measured] : points) lines[name] = fit_line(measured);
  return lines;
}

}  // namespace

CostModel measure_costs(World& world, const SweepOptions& options) {
  CostModel model;
  {
    Sweep sweep(world, options);
    model.inside = sweep.link(sweep.neighbour(true));
    model.across = sweep.link(sweep.neighbour(false));
    if (model.across.s_per_byte == 0) model.across = model.inside;
    if (model.inside.s_per_byte == 0) model.inside = model.across;
    model.add_s_per_byte = sweep.add_s_per_byte();
  }
  model.whole = measure_whole(world, options);
  return model;
}

}  // namespace lockstep::comm
