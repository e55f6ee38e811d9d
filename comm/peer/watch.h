// Looks at what kernels note: tells the job where this rank is, and when a wait has lasted too long, fails
// the stream with the report and lets the kernel go.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "comm/peer/board.h"
#include "comm/transport/report.h"
#include "core/memory.h"
#include "core/stream.h"

namespace lockstep::comm {

class PeerWatch {
 public:
  /// `post` may be null.
  PeerWatch(std::shared_ptr<Watchpost> post, int rank);
  PeerWatch(const PeerWatch&) = delete;
  PeerWatch& operator=(const PeerWatch&) = delete;
  ~PeerWatch();

  /// Where kernels write.
  [[nodiscard]] Notes* notes() const noexcept { return static_cast<Notes*>(memory_.data()); }
  /// The stream that fails if a wait expires from now on; it must live until its work has run.
  void guard(Stream& stream) noexcept { stream_ = &stream; }
  /// Ends all waits of kernels, now and later.
  void abort() noexcept;

 private:
  void serve();
  void look();
  [[nodiscard]] Error report(const Notes& notes);

  Memory memory_;
  std::shared_ptr<Watchpost> post_;
  int rank_;
  std::atomic<Stream*> stream_{nullptr};
  std::uint32_t told_begun_ = 0, told_done_ = 0;
  bool failed_ = false;
  std::mutex mutex_;
  std::condition_variable stopping_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace lockstep::comm
