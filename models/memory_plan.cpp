// Lifetimes of all tensors of a graph, and their places in one arena.
#include <algorithm>

#include "models/plan.h"

namespace lockstep::models {
namespace {

std::size_t at(int index) { return static_cast<std::size_t>(index); }

/// When a value is read or written.
struct Uses {
  int producer = -1;         ///< unit; -1: fed
  int readers = 0;           ///< how many unit inputs
  int last_forward = -1;     ///< time, of forward
  int last_later = -1;       ///< time, behind forward; -1: never
  bool in_backward = false;  ///< some backward reads it
};

/// Gives every tensor a block with its lifetime; a tensor that may overwrite another joins that one's block.
class MemoryPlanner {
 public:
  MemoryPlanner(const Graph& graph, const Units& units, const std::vector<BackwardStep>& backward, bool reuse,
                const Timeline& line)
      : graph_(graph),
        units_(units),
        backward_(backward),
        line_(line),
        reuse_(reuse),
        count_(static_cast<int>(units.units.size())),
        uses_(graph.values().size()) {
    plan_.activation.assign(graph.values().size(), -1);
    plan_.gradient.assign(graph.values().size(), -1);
    plan_.saved.assign(units.units.size(), -1);
  }

  MemoryPlan plan() && {
    find_reads();
    place_fed_values();
    for (int u = 0; u < count_; ++u) place_activation(u);
    if (training()) {
      for (int u = count_; u-- > 0;) place_gradients(u);
    }
    place_scratch();
    if (!reuse_) {
      for (Lifetime& block : plan_.blocks) block = {block.bytes, 0, end()};
    }
    plan_.arena = plan_arena(plan_.blocks);
    return std::move(plan_);
  }

 private:
  [[nodiscard]] bool training() const { return !backward_.empty(); }
  [[nodiscard]] int backward_time(int u) const { return line_.backward[at(u)]; }
  [[nodiscard]] int end() const { return training() ? line_.end() : count_ - 1; }
  /// When forward of unit u runs once more; -1: never.
  [[nodiscard]] int again(int u) const { return training() ? line_.again[at(u)] : -1; }
  [[nodiscard]] const Unit& unit(int u) const { return units_.units[at(u)]; }
  [[nodiscard]] bool runs_backward(int u) const { return training() && backward_[at(u)].runs; }
  [[nodiscard]] std::size_t bytes(int value) const {
    const TensorLayout& layout = units_.layouts[at(value)];
    return static_cast<std::size_t>(layout.stored_count()) * size_of(layout.dtype);
  }
  void live_until(int index, int time) {
    Lifetime& block = plan_.blocks[at(index)];
    int& last = block.comes_back() ? block.later_last : block.last;
    last = std::max(last, time);
  }
  /// The block is also needed for `life`, which begins within it.
  void join(int index, const Lifetime& life) {
    Lifetime& block = plan_.blocks[at(index)];
    block.last = std::max(block.last, life.last);
    if (life.comes_back()) {
      block.later_first =
          block.comes_back() ? std::min(block.later_first, life.later_first) : life.later_first;
      block.later_last = std::max(block.later_last, life.later_last);
    }
    if (!block.comes_back() || block.last < block.later_first) return;
    block = {block.bytes, block.first, std::max(block.last, block.later_last)};
  }

  void read(int value, int time) {
    Uses& uses = uses_[at(value)];
    int& last = time < count_ ? uses.last_forward : uses.last_later;
    last = std::max(last, time);
  }
  void find_reads() {
    for (int u = 0; u < count_; ++u) {
      const Unit& each = unit(u);
      uses_[at(each.output)].producer = u;
      read(each.output, u);
      if (again(u) >= 0) read(each.output, again(u));
      for (int input : each.inputs) {
        ++uses_[at(input)].readers;
        read(input, u);
        if (again(u) >= 0) read(input, again(u));
      }
      if (runs_backward(u)) find_backward_reads(u);
    }
    // The caller reads these between forward and backward, the losses even after it.
    read(graph_.prediction(), count_ - 1);
    if (graph_.loss() >= 0) read(graph_.loss(), end());
  }
  void find_backward_reads(int u) {
    const auto read_backward = [&](int value) {
      read(value, backward_time(u));
      uses_[at(value)].in_backward = true;
    };
    const Unit& each = unit(u);
    for (std::size_t i = 0; i < each.inputs.size(); ++i) {
      if (each.kernel->backward_needs_input(static_cast<int>(i))) read_backward(each.inputs[i]);
    }
    if (each.kernel->backward_needs_output()) read_backward(each.output);
  }

  /// A value inside a segment goes after forward and comes back when its unit runs again.
  [[nodiscard]] Lifetime life_of(int value) const {
    const Uses& uses = uses_[at(value)];
    const int first = std::max(0, uses.producer);
    const int last = std::max(first, uses.last_forward);
    const int again_at = uses.producer < 0 ? -1 : again(uses.producer);
    if (again_at >= 0 && !line_.kept[at(value)])
      return {bytes(value), first, last, again_at, uses.last_later};
    return {bytes(value), first, std::max(last, uses.last_later)};
  }
  int add_block(const Lifetime& life) {
    plan_.blocks.push_back(life);
    return static_cast<int>(plan_.blocks.size()) - 1;
  }

  void place_fed_values() {
    for (int fed : {graph_.input(), graph_.target()}) {
      if (fed >= 0) plan_.activation[at(fed)] = add_block(life_of(fed));
    }
  }

  /// True when the output of unit u may overwrite its input 0: nobody reads that afterwards, and both or none
  /// are made again.
  [[nodiscard]] bool may_overwrite(int u) const {
    const Unit& each = unit(u);
    const int value = each.inputs.front();
    const Uses& uses = uses_[at(value)];
    if (!reuse_ || !each.kernel->in_place() || uses.producer < 0 || uses.readers != 1) return false;
    const bool repeats = again(u) >= 0;
    if (repeats != (again(uses.producer) >= 0) || (repeats && line_.kept[at(value)])) return false;
    return value != graph_.prediction() && !uses.in_backward && bytes(value) == bytes(each.output);
  }

  /// True when gradient `input` of unit u may overwrite the input itself: this backward is its last reader.
  /// Values that share memory with others (fed, or made in place) are left alone.
  [[nodiscard]] bool may_replace(int u, int input) const {
    const Unit& each = unit(u);
    const int value = each.inputs[at(input)];
    const Uses& uses = uses_[at(value)];
    const int block = plan_.activation[at(value)];
    return reuse_ && each.kernel->gradient_over_input(input) && uses.producer >= 0 &&
           uses.last_later <= backward_time(u) && std::ranges::count(plan_.activation, block) == 1;
  }

  void place_activation(int u) {
    const int value = unit(u).output;
    const Lifetime life = life_of(value);
    if (may_overwrite(u)) {
      plan_.activation[at(value)] = plan_.activation[at(unit(u).inputs.front())];
      join(plan_.activation[at(value)], life);
    } else {
      plan_.activation[at(value)] = add_block(life);
    }
    const std::size_t saved = unit(u).kernel->saved_bytes();
    if (saved > 0) plan_.saved[at(u)] = add_block(life_of_saved(u, saved));
  }
  [[nodiscard]] Lifetime life_of_saved(int u, std::size_t size) const {
    if (again(u) >= 0) return {size, u, u, again(u), backward_time(u)};
    return {size, u, runs_backward(u) ? backward_time(u) : u};
  }

  /// A gradient lives from its first writer to the backward of the unit that made the value.
  void place_gradients(int u) {
    if (!backward_[at(u)].runs) return;
    bool joined = !reuse_;
    for (std::size_t i = 0; i < unit(u).inputs.size(); ++i) {
      const int value = unit(u).inputs[i];
      const auto& gradient = backward_[at(u)].inputs[i];
      if (!gradient.wanted || gradient.add) continue;
      const int own = plan_.gradient[at(unit(u).output)];
      const int last = backward_time(uses_[at(value)].producer);
      if (!joined && own >= 0 && bytes(value) == bytes(unit(u).output) &&
          unit(u).kernel->gradient_in_place(static_cast<int>(i))) {
        plan_.gradient[at(value)] = own;
        live_until(own, last);
        joined = true;
      } else if (may_replace(u, static_cast<int>(i))) {
        plan_.gradient[at(value)] = plan_.activation[at(value)];
        live_until(plan_.gradient[at(value)], last);
      } else {
        plan_.gradient[at(value)] = add_block({bytes(value), backward_time(u), last});
      }
    }
  }

  void place_scratch() {
    std::size_t largest = 0;
    for (const Unit& each : units_.units) largest = std::max(largest, each.kernel->workspace_bytes());
    if (largest > 0) plan_.workspace = add_block({largest, 0, end()});
  }

  const Graph& graph_;
  const Units& units_;
  const std::vector<BackwardStep>& backward_;
  const Timeline& line_;
  bool reuse_;
  int count_;
  std::vector<Uses> uses_;  ///< per value
  MemoryPlan plan_;
};

}  // namespace

MemoryPlan plan_memory(const Graph& graph, const Units& units, const std::vector<BackwardStep>& backward,
                       bool reuse, const Timeline& line) {
  return MemoryPlanner(graph, units, backward, reuse, line).plan();
}

MemoryPlan plan_memory(const Graph& graph, const Units& units, const std::vector<BackwardStep>& backward,
                       bool reuse) {
  const Timeline line = backward.empty() ? Timeline{} : make_timeline(graph, units, backward, {0});
  return plan_memory(graph, units, backward, reuse, line);
}

}  // namespace lockstep::models
