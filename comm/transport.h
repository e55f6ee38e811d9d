// Moves bytes between ranks, in stream order. Algorithms are written once over this interface; MPI
// point-to-point, ranks as threads of one process, and a lone rank implement it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/contender.h"
#include "comm/topology.h"
#include "core/flat_span.h"
#include "core/memory.h"
#include "core/stream.h"

namespace lockstep::comm {

struct Send {
  int to = 0;
  FlatSpan data;
};
struct Recv {
  int from = 0;
  FlatSpan data;
};

/// What a transfer belongs to: named by the report when a deadline expires.
struct Operation {
  std::string_view name = "transfer";  ///< static text: "ring all-reduce"
  std::int64_t sequence = 0;           ///< counts operations of this transport from 1, the same on every rank
  int bucket = -1;                     ///< -1: not a gradient bucket
  std::int64_t bytes = 0;              ///< of the whole operation
};

/// What this rank has sent since the transport was made; empty messages are not sent and not counted.
struct Traffic {
  std::int64_t messages = 0;
  std::int64_t bytes = 0;
};

struct Plan;

/// Memory that ranks map from each other: kernels of one write where others read, without messages.
class MappedMemory {
 public:
  virtual ~MappedMemory() = default;
  /// Collective, blocks, as Transport::shared_memory(): a zeroed block on every rank.
  [[nodiscard]] virtual Memory lend(std::size_t bytes) = 0;
  /// Where this rank reaches what `rank` has at the place of `data`, which lies in a block of this rank.
  [[nodiscard]] virtual FlatSpan view(int rank, FlatSpan data) const = 0;
  /// Collective, enqueues. Ends on no rank before it began on every rank; what others wrote before it is
  /// there for all that is enqueued behind it.
  virtual void meet(int bucket, Stream& stream) = 0;
  /// Takes what this rank wrote to others into traffic().
  virtual void count(std::int64_t messages, std::int64_t bytes) noexcept = 0;
};

/// Used by one stream at a time; must outlive the work that it enqueued.
class Transport {
 public:
  Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  virtual ~Transport() = default;

  [[nodiscard]] virtual int rank() const noexcept = 0;
  [[nodiscard]] virtual int size() const noexcept = 0;
  /// Where the ranks are.
  [[nodiscard]] virtual Topology topology() const { return size(); }
  /// Enqueues: starts all sends and receives together and completes when all are done, so a ring step or a
  /// swap cannot deadlock. Messages between a pair of ranks keep their order; both sides name the same bytes.
  /// Sends to oneself are allowed. Spans stay untouched by others until the stream has passed. A deadline
  /// that expires fails the stream with Fault::communication naming the operation and the ranks that did not
  /// answer.
  virtual void transfer(std::span<const Send> sends, std::span<const Recv> receives,
                        const Operation& operation, Stream& stream) = 0;
  /// Collective. A transport of the same ranks whose messages never meet this one's; for use by another
  /// stream.
  [[nodiscard]] virtual std::unique_ptr<Transport> duplicate() = 0;
  [[nodiscard]] virtual Traffic traffic() const noexcept = 0;
  /// True when the work may be captured in a CUDA graph.
  [[nodiscard]] virtual bool capturable() const noexcept { return false; }
  /// Tells that captured work of this transport runs between two points of `stream`, so that its waits end
  /// too: the deadline holds for the whole of it.
  virtual void watch(const Operation& /*operation*/, const Event& /*begin*/, const Event& /*end*/,
                     Stream& /*stream*/) {}
  /// Collective, enqueues: the library's own all-reduce sum in place (MPI_Allreduce). False when the
  /// transport has none; then nothing was enqueued.
  virtual bool library_sum(FlatSpan /*data*/, const Operation& /*operation*/, Stream& /*stream*/) {
    return false;
  }

  // Memory that all ranks reach: ranks of one node, ranks as threads.
  /// Collective, blocks; while none of this transport's work is enqueued. Zeroed memory of `bytes` (the same
  /// on every rank), on the device whose buffers this transport moves, in which shared_sum() copies nothing
  /// or library_sum() is fastest. No memory when there is none to lend.
  [[nodiscard]] virtual Memory shared_memory(std::size_t /*bytes*/) { return {}; }
  /// Collective, enqueues: sums in place by reading and writing the other ranks' memory, in the balanced tree
  /// over ranks. `plan` has one round (everyone adds all arrays) or two (everyone adds its chunk); its cost
  /// is what is counted. False when there is no memory that all ranks reach, or for arrays it cannot take;
  /// then nothing was enqueued.
  virtual bool shared_sum(const Plan& /*plan*/, FlatSpan /*data*/, const Operation& /*operation*/,
                          Stream& /*stream*/) {
    return false;
  }
  /// Null where kernels reach no other rank's memory. Lives as long as the transport.
  [[nodiscard]] virtual MappedMemory* mapped_memory() noexcept { return nullptr; }
};

class Watchpost;

/// The ranks of a job, where they run, and their transports. Outlives its transports.
class World {
 public:
  virtual ~World() = default;
  [[nodiscard]] virtual int rank() const noexcept = 0;
  [[nodiscard]] virtual int size() const noexcept = 0;
  /// Index among the ranks of this node, and their number.
  [[nodiscard]] virtual int local_rank() const noexcept = 0;
  [[nodiscard]] virtual int local_size() const noexcept = 0;
  /// Processors that ranks of this node may run on.
  [[nodiscard]] virtual int processors() const noexcept = 0;
  [[nodiscard]] virtual std::string host() const = 0;
  /// Collective. A fresh transport over all ranks; waits longer than `deadline_s` fail.
  [[nodiscard]] virtual std::unique_ptr<Transport> transport(double deadline_s) = 0;
  /// Whether messages of its transports may lie in GPU memory: CUDA-aware MPI.
  [[nodiscard]] virtual bool takes_gpu_memory() const { return false; }
  /// The library's own all-reduce as its users call it, for benchmarks. Collective.
  [[nodiscard]] virtual std::vector<Contender> contenders() { return {}; }
  /// Collective. For transports that move bytes by other means than this world: where they say what they are
  /// in, so that the report of an expired wait can name who did not come. Null: this world has none.
  [[nodiscard]] virtual std::shared_ptr<Watchpost> watchpost() { return nullptr; }
  /// "self", "threads", "mpi (Open MPI 4.1.4, not CUDA-aware)".
  [[nodiscard]] virtual std::string description() const = 0;
};

}  // namespace lockstep::comm
