// What transports over host memory share, written once: checks at the door, dropping of empty messages,
// counting of traffic, and telling where this rank is. A transport of this kind only says how bytes move.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "comm/transport.h"
#include "comm/transport/report.h"
#include "comm/transport/shared_exchange.h"

namespace lockstep::comm {

/// A point in time by which a wait must end.
class Deadline {
 public:
  using Clock = std::chrono::steady_clock;
  /// The clock cannot count to the end of much longer ones.
  static constexpr double kForever_s = 1e9;
  explicit Deadline(double seconds)
      : begin_(Clock::now()),
        end_(begin_ + std::chrono::duration_cast<Clock::duration>(
                          std::chrono::duration<double>(std::min(seconds, kForever_s)))) {}
  [[nodiscard]] bool expired() const { return Clock::now() >= end_; }
  [[nodiscard]] Clock::time_point end() const noexcept { return end_; }
  [[nodiscard]] double waited_s() const {
    return std::chrono::duration<double>(Clock::now() - begin_).count();
  }

 private:
  Clock::time_point begin_;
  Clock::time_point end_;
};

class HostTransport : public Transport {
 public:
  [[nodiscard]] int rank() const noexcept final { return rank_; }
  [[nodiscard]] int size() const noexcept final { return topology_.ranks(); }
  [[nodiscard]] Topology topology() const final { return topology_; }
  void transfer(std::span<const Send> sends, std::span<const Recv> receives, const Operation& operation,
                Stream& stream) final;
  [[nodiscard]] Traffic traffic() const noexcept final;
  [[nodiscard]] Memory shared_memory(std::size_t bytes) final;
  bool shared_sum(const Plan& plan, FlatSpan data, const Operation& operation, Stream& stream) final;

 protected:
  /// `crowded`: this node has more ranks than processors that they may run on.
  HostTransport(int rank, Topology topology, bool crowded, double deadline_s)
      : rank_(rank), topology_(std::move(topology)), crowded_(crowded), deadline_s_(deadline_s) {}
  [[nodiscard]] bool crowded() const noexcept { return crowded_; }
  [[nodiscard]] double deadline_s() const noexcept { return deadline_s_; }

  /// Runs on the stream's worker: moves all messages (none is empty) and returns when all are done.
  virtual void move(std::span<const Send> sends, std::span<const Recv> receives,
                    const Operation& operation) = 0;
  /// Whether buffers may lie on a device of that kind.
  [[nodiscard]] virtual bool takes(DeviceKind kind) const noexcept { return kind == DeviceKind::cpu; }
  /// Publishes where this rank is, for the reports of others. Any thread.
  virtual void publish(const Position& position) = 0;
  /// True when share() gives memory if there is room for it; the same on every rank.
  [[nodiscard]] virtual bool shares() const noexcept { return false; }
  /// Collective, blocks at most until the deadline. One zeroed block per rank, by rank, in reach of all; they
  /// live as long as anybody may use them. No blocks, on every rank, where there is no room for them.
  virtual std::vector<std::byte*> share(std::size_t /*bytes*/) { return {}; }
  /// Asked now and then while shared_sum() waits, see SharedExchange::Impatience.
  virtual void stop_if_hopeless(const Operation& /*operation*/, const Deadline& /*deadline*/,
                                const SharedExchange::Missing& /*missing*/) {}
  /// A shared_sum() of this rank has failed: peers need not wait for it.
  virtual void tell_failure(const std::exception& /*error*/) {}

 private:
  void check(int peer, const FlatSpan& data) const;
  void count(std::int64_t messages, std::int64_t bytes) noexcept;
  /// Collective the first time.
  SharedExchange& shared();

  int rank_;
  Topology topology_;
  bool crowded_;
  double deadline_s_;
  std::unique_ptr<SharedExchange> shared_;
  std::atomic<std::int64_t> messages_{0};
  std::atomic<std::int64_t> bytes_{0};
};

}  // namespace lockstep::comm
