// The balanced tree over a rank's microbatches. The tree of n leaves has a left part of ceil(n/2) and a right
// part of floor(n/2): with P ranks (a power of two) of equally many microbatches this is exactly the lower
// part of the tree over the global index, for any number of microbatches. Partial sums are added from the
// left into the array of the right part, so the last microbatch's array, the gradient array itself, ends up
// with the whole sum.
#include <string>
#include <vector>

#include "comm/exchange.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/vector/vector.h"

namespace lockstep::comm {
namespace {

/// What happens with one microbatch: where its gradient goes, and the partial sums to add from the left, in
/// order.
struct Leaf {
  int array = 0;
  std::vector<int> merges;
};

/// Plans leaves in order; array 0 is the gradient array, others are made when no free one is left.
class Planner {
 public:
  explicit Planner(int microbatches) { plan(microbatches, 0); }
  [[nodiscard]] std::vector<Leaf> leaves() && { return std::move(leaves_); }
  [[nodiscard]] int arrays() const noexcept { return static_cast<int>(busy_.size()); }

 private:
  /// The next `count` leaves; their sum ends in `array`.
  void plan(int count, int array) {
    if (count == 1) {
      leaves_.push_back({array, {}});
      return;
    }
    const int left = free_array_but(array);
    plan(count - count / 2, left);
    busy_[static_cast<std::size_t>(left)] = true;
    plan(count / 2, array);
    leaves_.back().merges.push_back(left);
    busy_[static_cast<std::size_t>(left)] = false;
  }

  int free_array_but(int array) {
    for (std::size_t i = 0; i < busy_.size(); ++i) {
      if (!busy_[i] && static_cast<int>(i) != array) return static_cast<int>(i);
    }
    busy_.push_back(false);
    return arrays() - 1;
  }

  std::vector<Leaf> leaves_;
  std::vector<bool> busy_{false};  // holds a partial sum that is still needed
};

class BalancedTree final : public TreeAccumulator {
 public:
  BalancedTree(FlatSpan gradients, int microbatches) : arrays_{gradients} {
    Planner planner(microbatches);
    for (int i = 1; i < planner.arrays(); ++i) {
      owned_.push_back(make_array(gradients.device, gradients.dtype, gradients.count));
      arrays_.push_back(owned_.back().span);
    }
    leaves_ = std::move(planner).leaves();
  }

  FlatSpan target(int microbatch) override { return arrays_[index(leaf(microbatch).array)]; }

  void complete(int microbatch, std::int64_t elements, Stream& compute) override {
    const Leaf& at = leaf(microbatch);
    if (microbatch != current_) {
      current_ = microbatch;
      merged_ = 0;
    }
    const FlatSpan sum = arrays_[index(at.array)];
    if (elements > sum.count)
      throw Error(Fault::internal, "more complete elements than the gradient array has");
    if (elements <= merged_) return;
    const FlatSpan mine = sum.part(merged_, elements - merged_);
    for (int left : at.merges) {
      vector::sum(arrays_[index(left)].part(merged_, elements - merged_), mine, mine, compute);
    }
    merged_ = elements;
  }

  int arrays() const noexcept override { return static_cast<int>(arrays_.size()); }

 private:
  static std::size_t index(int i) { return static_cast<std::size_t>(i); }

  const Leaf& leaf(int microbatch) const {
    if (microbatch >= 0 && index(microbatch) < leaves_.size()) return leaves_[index(microbatch)];
    throw Error(Fault::internal,
                "microbatch " + std::to_string(microbatch) + " of " + std::to_string(leaves_.size()));
  }

  std::vector<FlatArray> owned_;
  std::vector<FlatSpan> arrays_;
  std::vector<Leaf> leaves_;
  int current_ = -1;
  std::int64_t merged_ = 0;  // elements of the current microbatch already carried up
};

}  // namespace

int tree_arrays(int microbatches) { return Planner(microbatches).arrays(); }

std::unique_ptr<TreeAccumulator> make_tree_accumulator(FlatSpan gradients, int microbatches) {
  if (microbatches < 1) throw Error(Fault::internal, "a sum over no microbatches");
  return std::make_unique<BalancedTree>(gradients, microbatches);
}

}  // namespace lockstep::comm
