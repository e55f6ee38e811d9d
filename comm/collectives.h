// The narrow waist of the communication layer: compressors, synchronisation rules, checkpoints and the
// trainer use only this. Every call is collective and enqueues on the stream; all ranks call in the same
// order. One Collectives belongs to one stream at a time; use duplicate() for another.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/allreduce/schedule.h"
#include "comm/transport.h"

namespace lockstep::comm {

class Collectives {
 public:
  virtual ~Collectives() = default;
  [[nodiscard]] virtual int rank() const noexcept = 0;
  [[nodiscard]] virtual int size() const noexcept = 0;

  /// data = sum over ranks, the same bits on every rank, by the chosen schedule. `bucket` names it in reports
  /// (-1: none).
  virtual void sum(FlatSpan data, Stream& stream, int bucket = -1) = 0;
  /// Collective, blocks; while nothing is enqueued here. Zeroed memory of `bytes` (the same on every
  /// rank) for arrays that sum() need not copy; no memory when the transport has none to lend.
  [[nodiscard]] virtual Memory shared_memory(std::size_t /*bytes*/) { return {}; }
  /// What compressors write payloads through; null: they send messages.
  [[nodiscard]] virtual MappedMemory* mapped_memory() noexcept { return nullptr; }
  /// all = everyone's `mine`, in rank order; all.count == size() * mine.count. Bruck's algorithm: ceil(log2
  /// p) rounds.
  virtual void gather(FlatSpan mine, FlatSpan all, Stream& stream) = 0;
  /// data = root's data. Binomial tree.
  virtual void broadcast(FlatSpan data, int root, Stream& stream) = 0;
  /// Any matching set of point-to-point messages.
  virtual void exchange(std::span<const Send> sends, std::span<const Recv> receives, Stream& stream) = 0;
  /// Ends on no rank before it began on every rank.
  virtual void barrier(Stream& stream) = 0;

  /// True when the work may be recorded in a CUDA graph.
  [[nodiscard]] virtual bool capturable() const noexcept { return false; }
  /// Tells that such recorded work, in which this rank sends `bytes`, runs between two points of `stream`.
  /// The deadline of a wait holds for the whole of it then.
  virtual void replayed(std::int64_t bytes, const Event& begin, const Event& end, Stream& stream) = 0;
  [[nodiscard]] virtual Traffic traffic() const noexcept = 0;
  /// Collective. The same ranks and schedule over a duplicated transport.
  [[nodiscard]] virtual std::unique_ptr<Collectives> duplicate() = 0;
};

/// `schedule` is shared by all sums. Streams that were used must have passed before it is destroyed.
[[nodiscard]] std::unique_ptr<Collectives> make_collectives(std::unique_ptr<Transport> transport,
                                                            std::shared_ptr<const Schedule> schedule);

/// Blocking conveniences for control: a Collectives with a stream of its own. Collective.
class Control {
 public:
  explicit Control(std::unique_ptr<Collectives> collectives);
  [[nodiscard]] int rank() const noexcept { return collectives_->rank(); }
  [[nodiscard]] int size() const noexcept { return collectives_->size(); }
  void barrier();
  /// Sums in rank order, in double.
  void sum(std::span<double> values);
  [[nodiscard]] double sum(double value);
  [[nodiscard]] double maximum(double value);
  /// Everyone's value in rank order.
  [[nodiscard]] std::vector<std::int64_t> gather(std::int64_t value);
  [[nodiscard]] std::vector<std::string> gather(const std::string& text);
  /// Root's text on every rank.
  [[nodiscard]] std::string broadcast(const std::string& text, int root = 0);

 private:
  std::unique_ptr<Collectives> collectives_;
  std::unique_ptr<Stream> stream_;
};

}  // namespace lockstep::comm
