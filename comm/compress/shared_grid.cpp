// Integers on a grid that all ranks share (the homomorphic part of THC, Li et al., NSDI 2024): ranks agree on
// the largest magnitude of each block of a slot; codes are integers of at most (2^(bits-1) - 1) / p levels,
// so that sums of p of them fit the field and travel through any all-reduce packed into 32-bit words. Integer
// sums are exact and free of order: every schedule gives the same bits. Levels shrink with the number of
// ranks: 8 bits suit up to about 8 ranks, 16 bits hundreds.
#include "comm/compress/rows.h"
#include "comm/compress/sparse.h"
#include "core/error.h"

namespace lockstep::comm {
namespace {

// A grid for a whole slot is too coarse where rows differ in scale, as an embedding's do. The magnitudes of
// blocks of 1024 cost (p - 1) / 256 bytes an element.
constexpr std::int64_t kBlock = 1024;

constexpr Setting kSettings[] = {
    {"bits", SettingType::integer, "8", "of an element on the wire: 8 or 16", "[8,16]"},
    {"rounding", SettingType::text, "nearest", "to the nearest code, or at random without bias",
     "nearest|stochastic"},
    {"feedback", SettingType::boolean, "true", "error feedback: keep what rounding lost for the next step"},
};

Grid grid_of(const Options& options, int ranks) {
  const std::int64_t bits = options.integer("bits");
  if (bits != 8 && bits != 16)
    throw Error(Fault::config, options.where("bits") + " is " + std::to_string(bits), "use 8 or 16");
  const int levels = ((1 << (bits - 1)) - 1) / ranks;
  if (levels < 1) {
    throw Error(Fault::config,
                "sums of " + std::to_string(ranks) + " ranks do not fit " + std::to_string(bits) + " bits",
                "set compress.shared_grid.bits to 16");
  }
  return {static_cast<int>(bits), levels, options.text("rounding") == "stochastic"};
}

class SharedGrid final : public Compressor {
 public:
  SharedGrid(const Options& options, const CompressorContext& context)
      : Compressor(context, options.boolean("feedback")),
        grid_(grid_of(options, context.ranks)),
        runs_(make_runs(blocks(context.group, kBlock))),
        largest_(floats(static_cast<std::int64_t>(runs_->list.size()))),
        everyones_(floats(largest_.span.count * context.ranks)),
        codes_(make_array(context.device, Dtype::i32, context.group.count * grid_.bits / 32)) {}

  std::int64_t stated_bytes(const Schedule& schedule, std::int64_t /*step*/) const override {
    const std::int64_t maxima =
        gather_plan(context().rank, context().ranks, largest_.span.count).cost().elements;
    return 4 * (maxima + schedule.stated_cost(context().rank, context().ranks, codes_.span.count).elements);
  }

 private:
  void average(const Turn& turn) override {
    kernels().largest_magnitudes(turn.values, runs_, largest_.span, turn.stream);
    mark(Phase::encode, turn.stream);
    turn.collectives.gather(largest_.span, everyones_.span, turn.stream);
    mark(Phase::wire, turn.stream);
    kernels().grid_steps(everyones_.span, grid_, largest_.span, turn.stream);
    kernels().to_grid(turn.values, runs_, largest_.span, grid_, key(turn, "grid", context().rank),
                      codes_.span, turn.stream);
    mark(Phase::encode, turn.stream);
    turn.collectives.sum(codes_.span, turn.stream, group().bucket);
    mark(Phase::wire, turn.stream);
    kernels().from_grid(codes_.span, runs_, largest_.span, grid_, context().ranks, turn.mean, turn.stream);
  }

  Grid grid_;
  Runs runs_;
  FlatArray largest_;  ///< this rank's largest magnitudes, then the grids' steps
  FlatArray everyones_, codes_;
};

std::unique_ptr<Compressor> make(const Options& options, const CompressorContext& context) {
  return std::make_unique<SharedGrid>(options, context);
}

}  // namespace

const CompressorRegistry::Row kSharedGrid{"shared_grid", "integers on a shared grid: exact sums in any order",
                                          kSettings, make};

}  // namespace lockstep::comm
