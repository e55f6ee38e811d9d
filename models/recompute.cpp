#include "models/recompute.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "models/plan.h"

namespace lockstep::models {
namespace {

std::size_t at(int index) { return static_cast<std::size_t>(index); }

/// Per value, the unit that makes it; -1: fed.
std::vector<int> producers(const Graph& graph, const Units& units) {
  std::vector<int> producer(graph.values().size(), -1);
  for (std::size_t u = 0; u < units.units.size(); ++u)
    producer[at(units.units[u].output)] = static_cast<int>(u);
  return producer;
}

class TimelineMaker {
 public:
  TimelineMaker(const Graph& graph, const Units& units, const std::vector<BackwardStep>& backward,
                const std::vector<int>& starts)
      : units_(units), backward_(backward), starts_(starts), segment_(units.units.size(), 0) {
    int segment = -1;
    for (int u = 0; u < count(); ++u) {
      if (at(segment + 1) < starts.size() && starts[at(segment + 1)] == u) ++segment;
      segment_[at(u)] = segment;
    }
    line_.again.assign(units.units.size(), -1);
    line_.backward.assign(units.units.size(), -1);
    line_.kept.assign(graph.values().size(), false);
    const std::vector<int> producer = producers(graph, units);
    for (std::size_t value = 0; value < producer.size(); ++value) line_.kept[value] = producer[value] < 0;
    for (int u = 0; u < count(); ++u) {
      for (int input : unit(u).inputs) {
        const int from = producer[at(input)];
        if (from >= 0 && segment_[at(from)] != segment_[at(u)]) line_.kept[at(input)] = true;
      }
    }
    wanted_.assign(graph.values().size(), false);
  }

  Timeline make() && {
    for (std::size_t segment = starts_.size(); segment-- > 0;) {
      const int first = starts_[segment];
      const int end = segment + 1 < starts_.size() ? starts_[segment + 1] : count();
      if (segment + 1 < starts_.size()) add_forwards(first, end);
      for (int u = end; u-- > first;) {
        line_.backward[at(u)] = now();
        line_.events.push_back({u, false});
      }
    }
    return std::move(line_);
  }

 private:
  [[nodiscard]] int count() const { return static_cast<int>(units_.units.size()); }
  [[nodiscard]] int now() const { return count() + static_cast<int>(line_.events.size()); }
  [[nodiscard]] const Unit& unit(int u) const { return units_.units[at(u)]; }

  /// Marks what backward of unit u reads.
  void want_reads(int u) {
    if (!backward_[at(u)].runs) return;
    const Unit& each = unit(u);
    if (each.kernel->backward_needs_output()) wanted_[at(each.output)] = true;
    for (std::size_t i = 0; i < each.inputs.size(); ++i) {
      if (each.kernel->backward_needs_input(static_cast<int>(i))) wanted_[at(each.inputs[i])] = true;
    }
  }

  /// Units of the segment [first, end) whose output or saved tensor backward or one of these units needs.
  void add_forwards(int first, int end) {
    for (int u = first; u < end; ++u) want_reads(u);
    std::vector<int> repeated;
    for (int u = end; u-- > first;) {
      const bool saves = backward_[at(u)].runs && unit(u).kernel->saved_bytes() > 0;
      const int output = unit(u).output;
      if (!saves && (line_.kept[at(output)] || !wanted_[at(output)])) continue;
      for (int input : unit(u).inputs) wanted_[at(input)] = true;
      repeated.push_back(u);
    }
    for (std::size_t i = repeated.size(); i-- > 0;) {
      line_.again[at(repeated[i])] = now();
      line_.events.push_back({repeated[i], true});
    }
  }

  const Units& units_;
  const std::vector<BackwardStep>& backward_;
  const std::vector<int>& starts_;
  std::vector<int> segment_;  ///< per unit
  std::vector<bool> wanted_;  ///< per value
  Timeline line_;
};

/// Bytes that decide where to cut.
struct Sizes {
  std::vector<std::int64_t> inner;     ///< per unit: output and saved tensor
  std::vector<std::int64_t> crossing;  ///< per unit: values made by it or before that later units read
};

Sizes sizes_of(const Graph& graph, const Units& units) {
  const std::size_t count = units.units.size();
  const std::vector<int> producer = producers(graph, units);
  std::vector<int> last_reader(graph.values().size(), -1);
  for (std::size_t u = 0; u < count; ++u) {
    for (int input : units.units[u].inputs) last_reader[at(input)] = static_cast<int>(u);
  }
  Sizes sizes{std::vector<std::int64_t>(count), std::vector<std::int64_t>(count)};
  for (std::size_t u = 0; u < count; ++u) {
    const int output = units.units[u].output;
    const TensorLayout& layout = units.layouts[at(output)];
    const std::int64_t bytes = layout.stored_count() * static_cast<std::int64_t>(size_of(layout.dtype));
    sizes.inner[u] = bytes + static_cast<std::int64_t>(units.units[u].kernel->saved_bytes());
    for (int after = static_cast<int>(u); after < last_reader[at(output)]; ++after)
      sizes.crossing[at(after)] += bytes;
  }
  return sizes;
}

/// Cuts so that no segment of several units holds more than `most` bytes and the values that cross cuts are
/// as few bytes as can be.
std::vector<int> cut(const Sizes& sizes, std::int64_t most) {
  const int count = static_cast<int>(sizes.inner.size());
  std::vector<std::int64_t> best(at(count) + 1, std::numeric_limits<std::int64_t>::max());
  std::vector<int> from(at(count) + 1, 0);  // where the segment that ends here begins
  best[0] = 0;
  for (int end = 1; end <= count; ++end) {
    std::int64_t held = 0;
    for (int first = end; first-- > 0;) {
      held += sizes.inner[at(first)];
      if (held > most && first + 1 < end) break;
      const std::int64_t cost = best[at(first)] + (first > 0 ? sizes.crossing[at(first - 1)] : 0);
      if (cost >= best[at(end)]) continue;
      best[at(end)] = cost;
      from[at(end)] = first;
    }
  }
  std::vector<int> starts;
  for (int end = count; end > 0; end = from[at(end)]) starts.push_back(from[at(end)]);
  std::reverse(starts.begin(), starts.end());
  return starts;
}

}  // namespace

int Timeline::repeated() const noexcept {
  return static_cast<int>(std::ranges::count_if(events, [](const auto& event) { return event.forward; }));
}

Timeline make_timeline(const Graph& graph, const Units& units, const std::vector<BackwardStep>& backward,
                       const std::vector<int>& starts) {
  return TimelineMaker(graph, units, backward, starts).make();
}

Timeline plan_recompute(const Graph& graph, const Units& units, const std::vector<BackwardStep>& backward) {
  const Sizes sizes = sizes_of(graph, units);
  std::int64_t whole = 0;
  for (std::int64_t bytes : sizes.inner) whole += bytes;
  Timeline best = make_timeline(graph, units, backward, {0});
  std::size_t least = plan_memory(graph, units, backward, true, best).arena.bytes;
  // Memory is flat around its least (about the root of the number of layers): steps of a quarter find it.
  for (double parts = 2; parts <= static_cast<double>(sizes.inner.size()); parts *= 1.25) {
    const auto most = static_cast<std::int64_t>(static_cast<double>(whole) / parts);
    Timeline line = make_timeline(graph, units, backward, cut(sizes, most));
    const std::size_t bytes = plan_memory(graph, units, backward, true, line).arena.bytes;
    if (bytes >= least) continue;
    least = bytes;
    best = std::move(line);
  }
  return best;
}

}  // namespace lockstep::models
