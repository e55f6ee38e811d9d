// 2-D torus (Mikami et al. 2018, Ying et al. 2018): ranks lie in a grid, row after row. Reduce-scatter along
// the rows, all-reduce along the columns, all-gather along the rows, each by the ring: the bytes of the flat
// ring in 2(X-1) + 2(Y-1) rounds instead of 2(XY-1). A number of ranks without a divisor is one column: the
// flat ring.
#include <spdlog/fmt/fmt.h>

#include "comm/allreduce/group.h"
#include "comm/allreduce/rows.h"
#include "core/error.h"

namespace lockstep::comm {
namespace {

constexpr Setting kSettings[] = {
    {"width", SettingType::integer, "0", "ranks of a row; 0: the largest divisor not above the square root",
     "[0,inf)"},
};

/// A rank's place in the grid.
struct Grid {
  Grid(int rank, int ranks, int wanted) : width(wanted) {
    if (width == 0) {
      for (int each = 1; each * each <= ranks; ++each) width = ranks % each == 0 ? each : width;
    }
    if (ranks % width != 0) {
      throw Error(Fault::config, fmt::format("a torus {} ranks wide does not fit {} ranks", width, ranks),
                  "set allreduce.torus2d.width to a divisor of the number of ranks, or to 0");
    }
    height = ranks / width;
    column = rank % width;
    row = rank / width;
  }
  [[nodiscard]] std::vector<int> row_ranks() const {
    std::vector<int> ranks;
    ranks.reserve(static_cast<std::size_t>(width));
    for (int each = 0; each < width; ++each) ranks.push_back(row * width + each);
    return ranks;
  }
  [[nodiscard]] std::vector<int> column_ranks() const {
    std::vector<int> ranks;
    ranks.reserve(static_cast<std::size_t>(height));
    for (int each = 0; each < height; ++each) ranks.push_back(each * width + column);
    return ranks;
  }
  /// The chunk that this rank owns after the ring's reduce-scatter along the row.
  [[nodiscard]] Range owned(std::int64_t count) const {
    return chunk_of({0, count}, width, (column + 1) % width);
  }

  int width, height, column, row;
};

class Torus final : public Schedule {
 public:
  explicit Torus(std::int64_t width) : width_(static_cast<int>(width)) {}

  Plan plan(int rank, const Topology& topology, std::int64_t count) const override {
    const Grid grid(rank, topology.ranks(), width_);
    Plan whole;
    if (count == 0) return whole;
    const Plan along_row = ring_plan(grid.column, grid.width, count, 0);
    const Range owned = grid.owned(count);
    const int steps = grid.width - 1;
    append(whole, along_row, {.ranks = grid.row_ranks(), .from = 0, .to = steps});
    append(whole, ring_plan(grid.row, grid.height, owned.count, 0),
           {.ranks = grid.column_ranks(), .offset = owned.first, .from = 0, .to = 2 * (grid.height - 1)});
    append(whole, along_row, {.ranks = grid.row_ranks(), .from = steps, .to = 2 * steps});
    return whole;
  }

  Cost stated_cost(int rank, const Topology& topology, std::int64_t count) const override {
    const Grid grid(rank, topology.ranks(), width_);
    if (count == 0) return {};
    const Cost row = ring_cost(grid.column, grid.width, count, 0);
    const Cost column = ring_cost(grid.row, grid.height, grid.owned(count).count, 0);
    return {2 * (static_cast<std::int64_t>(grid.width) + grid.height - 2), row.messages + column.messages,
            row.elements + column.elements};
  }

  std::string_view name() const noexcept override { return "2-D torus all-reduce"; }
  bool layout_invariant() const noexcept override { return false; }

 private:
  int width_;
};

}  // namespace

std::unique_ptr<Schedule> make_torus2d(const Options& options) {
  return std::make_unique<Torus>(options.integer("width"));
}

std::span<const Setting> torus2d_settings() noexcept { return kSettings; }

}  // namespace lockstep::comm
