// What the MPI parts share: errors as exceptions, polite waiting, and the watch: a second communicator over
// which ranks tell each other where they are. A thread of each rank answers, so that a rank which computes,
// or waits for something else, still answers; only one that is dead, stopped or cut off does not. Includes
// mpi.h: for .cpp files of this folder only.
#pragma once

#include <mpi.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "comm/transport/host_transport.h"
#include "comm/transport/report.h"

namespace lockstep::comm {

/// Throws Fault::communication with MPI's text when `code` is an error.
void check_mpi(int code, std::string_view call);

/// Polls until the request is complete; false when the deadline expires first.
[[nodiscard]] bool complete_by(MPI_Request& request, const Deadline& deadline, bool crowded = false);

class MpiWatch {
 public:
  /// Collective.
  MpiWatch();
  MpiWatch(const MpiWatch&) = delete;
  MpiWatch& operator=(const MpiWatch&) = delete;
  /// Stops answering.
  ~MpiWatch();

  /// Where this rank is on a transport. Any thread.
  void publish(int transport, const Position& position);

  struct Answers {
    std::vector<std::optional<Position>> positions;  ///< by rank; empty: no answer
    bool told_elsewhere = false;  ///< another rank is about to report the same expired wait
  };
  /// Asks all ranks where they are on `transport`; waits at most two seconds for the answers. Any thread.
  [[nodiscard]] Answers ask(int transport);

  /// Collective. True when all ranks came here within the deadline; answers go on meanwhile.
  [[nodiscard]] bool farewell(double deadline_s);
  /// Called when all ranks are known to be done with each other: stops answering and frees the communicator.
  void release();

 private:
  struct Message {
    std::int32_t transport = 0;
    std::int32_t reporting = 0;  ///< in answers: the sender's own wait on that transport has expired
    Position position;
  };
  struct Outgoing {
    Message message;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  void serve();
  void stop();
  void answer_all();
  void send(const Message& message, int to, int tag);
  [[nodiscard]] std::vector<std::optional<Message>> collect(int transport);

  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0;
  int size_ = 1;
  std::mutex mutex_;  // guards what follows
  std::condition_variable stopping_;
  bool stop_ = false;
  std::map<int, Position> positions_;  // by transport
  std::map<int, bool> reporting_;      // transports of which a wait has expired here
  std::map<int, bool> asked_;          // transports somebody else reported on before
  std::list<Outgoing> outgoing_;       // small messages whose buffers MPI may still read
  std::thread thread_;
};

/// Shared by the world and its transports.
struct MpiJob {
  Topology topology = 1;    ///< of MPI_COMM_WORLD, which all transports span
  bool crowded = false;     ///< this node has more ranks than processors that they may run on
  bool cuda_aware = false;  ///< MPI moves GPU memory
  MpiWatch watch;
  std::atomic<int> transports{0};  ///< rank 0's count names them
  std::vector<MPI_Win> windows;    ///< shared memory: lives until the end of the job
  std::mutex windows_mutex;
  std::vector<MPI_Comm> measured;   ///< communicators of mpi_contenders()
  std::atomic<bool> failed{false};  ///< a transport gave up: MPI cannot be finalised any more
};

/// Collective over `comm`, whose ranks share a node. Zeroed memory of `bytes` per rank, by rank, in a window
/// of the job; none when the node has no room for it.
[[nodiscard]] std::vector<std::byte*> share_window(MpiJob& job, MPI_Comm comm, std::size_t bytes);

/// Collective. MPI_Allreduce, MPI_Iallreduce, and MPI_Iallreduce of 16 parts at once, all waited for as MPI
/// does: spinning.
[[nodiscard]] std::vector<Contender> mpi_contenders(MpiJob& job);

/// The MPI type of a dtype that MPI can sum; none for 16-bit floats.
[[nodiscard]] std::optional<MPI_Datatype> mpi_datatype(Dtype dtype);

/// Collective. A transport over a duplicate of `comm`.
[[nodiscard]] std::unique_ptr<Transport> make_mpi_transport(std::shared_ptr<MpiJob> job, MPI_Comm comm,
                                                            double deadline_s, std::int64_t piece_bytes);

/// What becomes of a wait that expired: asks the other ranks where they are on `transport` and makes the
/// report. Blocks for some seconds, longer where another rank reports first. MPI cannot be finalised
/// afterwards.
[[nodiscard]] DeadlineExpired report_expired(MpiJob& job, int transport, Expired expired);

/// Collective. A number for a transport, the same on every rank.
[[nodiscard]] int number_transport(MpiJob& job, MPI_Comm comm, const Deadline& deadline);
/// Collective. A place on the watch for what is not an MPI transport.
[[nodiscard]] std::shared_ptr<Watchpost> make_mpi_watchpost(std::shared_ptr<MpiJob> job, MPI_Comm comm,
                                                            double deadline_s);

}  // namespace lockstep::comm
