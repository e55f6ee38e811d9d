#include "tests/comm/compress_lab.h"

#include <algorithm>
#include <cmath>

#include "comm/compress/compressor.h"
#include "comm/exchange.h"
#include "comm/worlds.h"
#include "core/random.h"
#include "tests/comm/plans.h"

namespace lockstep::comm::compress {

Result run(const Lab& lab, int ranks, const Gradient& gradient) {
  const auto each = static_cast<std::size_t>(ranks);
  Result result{{}, std::vector<std::int64_t>(each), std::vector<StateMap>(each)};
  const SlotLayout layout({{"w", lab.shape}});
  run_ranks_as_threads(ranks, [&](World& world) {
    const auto collectives = make_collectives(world.transport(60), schedule_named(lab.schedule));
    ExchangeOptions options;
    options.compression.name = lab.compressor;
    options.compression.min_elements = 1;
    options.compression.momentum_kind = lab.momentum_kind;
    options.compression.momentum = lab.momentum;
    options.compression.nesterov = lab.nesterov;
    options.compression.exact_steps = lab.exact_steps;
    options.compression.settings = [&](std::string_view name) {
      return Options::of(compressors().row(name).settings, lab.settings);
    };
    const FlatArray array = make_array(Device{}, Dtype::f32, layout.stored_count());
    const auto compute = make_stream(Device{});
    const auto exchange = make_exchange(layout, *collectives, options);
    const std::int32_t accepted = 0;
    std::int64_t sent = 0;
    for (int step = 0; step < lab.steps; ++step) {
      sent = collectives->traffic().bytes;
      const Values values = gradient(world.rank(), step);
      std::copy(values.begin(), values.end(), array.span.as<float>().begin());
      exchange->begin(array.span, {.step = step, .rate = lab.rate, .scale = lab.scale});
      exchange->complete(1, compute->record());
      exchange->finish(*compute);
      exchange->settle(&accepted, *compute);
      compute->synchronize();
    }
    result.sent_bytes[static_cast<std::size_t>(world.rank())] = collectives->traffic().bytes - sent;
    StateWriter writer(result.states[static_cast<std::size_t>(world.rank())]);
    exchange->save(writer);
    if (world.rank() == 0) {
      const auto sum = array.span.as<float>().first(static_cast<std::size_t>(lab.shape.count()));
      result.sum.assign(sum.begin(), sum.end());
    }
  });
  return result;
}

Values normals(std::int64_t count, int rank, std::int64_t step) {
  const RandomSource source(2, "compress math", static_cast<std::uint64_t>(step * 64 + rank));
  Values values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = source.normal(i);
  return values;
}

double length(const Values& x) {
  double sum = 0;
  for (float each : x) sum += static_cast<double>(each) * static_cast<double>(each);
  return std::sqrt(sum);
}

Values true_sum(int ranks, const Gradient& gradient) {
  Values sum = gradient(0, 0);
  for (int rank = 1; rank < ranks; ++rank) {
    const Values own = gradient(rank, 0);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += own[i];
  }
  return sum;
}

double relative_error(const Values& seen, const Values& truth) {
  Values off(seen.size());
  for (std::size_t i = 0; i < seen.size(); ++i) off[i] = seen[i] - truth[i];
  return length(off) / length(truth);
}

}  // namespace lockstep::comm::compress
