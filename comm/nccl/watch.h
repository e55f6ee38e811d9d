// Watches operations on a GPU: a thread that looks which have begun and not ended for longer than the
// deadline, and whether NCCL met an error. NCCL itself waits for ever.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "comm/nccl/family.h"
#include "comm/transport/report.h"
#include "core/stream.h"

namespace lockstep::comm {

class NcclWatch {
 public:
  /// Ends all of `family`, to which `communicator` and what is added belong while the watch lives. `post` may
  /// be null; communicators must outlive the watch.
  NcclWatch(Communicator& communicator, std::shared_ptr<CommunicatorFamily> family,
            std::shared_ptr<Watchpost> post, int rank, double deadline_s);
  NcclWatch(const NcclWatch&) = delete;
  NcclWatch& operator=(const NcclWatch&) = delete;
  ~NcclWatch();

  /// Another communicator that operations may run on.
  void add(Communicator& communicator);
  /// An operation that stands between two points of `stream`, which must live until its work has run.
  void add(const Operation& operation, Event begin, Event end, Stream& stream);

 private:
  using Clock = std::chrono::steady_clock;
  struct Watched {
    Operation operation;
    Event begin, end;
    Stream* stream = nullptr;
    Clock::time_point began{};  ///< when it was first seen begun
    bool running = false;
  };

  void serve();
  /// Under the lock. What expired, if something did.
  [[nodiscard]] const Watched* look();
  void give_up(const Watched& watched, const Error& error);
  /// Under the lock.
  [[nodiscard]] ncclResult_t asynchronous_error() const;

  std::shared_ptr<CommunicatorFamily> family_;
  std::shared_ptr<Watchpost> post_;
  int rank_;
  double deadline_s_;
  std::mutex mutex_;  // guards what follows
  std::vector<Communicator*> communicators_;
  std::condition_variable stopping_;
  bool stop_ = false;
  std::deque<Watched> watched_;
  std::thread thread_;
};

}  // namespace lockstep::comm
