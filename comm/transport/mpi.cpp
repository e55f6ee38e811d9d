// MPI point-to-point. Each transport has a communicator of its own, so messages of two transports never meet
// and two streams may use them at once (MPI_THREAD_MULTIPLE). MPI makes progress only while somebody calls
// it: the stream's worker polls, politely.
#include "comm/transport/mpi_job.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "comm/transport/patience.h"

namespace lockstep::comm {

namespace {

constexpr int kTag = 0;

struct Piece {
  int peer = 0;
  std::int64_t expected = -1;  ///< bytes to receive; -1: a send
  bool done = false;
};

/// The requests of one transfer. What is outstanding when it dies is cancelled: nobody may write to lent
/// memory afterwards.
class Requests {
 public:
  Requests(MPI_Comm comm, std::int64_t piece_bytes) : comm_(comm), piece_bytes_(piece_bytes) {}
  Requests(const Requests&) = delete;
  Requests& operator=(const Requests&) = delete;
  ~Requests() {
    for (std::size_t i = 0; i < requests_.size(); ++i) {
      if (requests_[i] == MPI_REQUEST_NULL) continue;
      if (pieces_[i].expected >= 0) MPI_Cancel(&requests_[i]);
      MPI_Request_free(&requests_[i]);
    }
  }

  void receive(const Recv& receive) {
    for_pieces(receive.data, [&](std::byte* data, int bytes) {
      requests_.push_back(MPI_REQUEST_NULL);
      pieces_.push_back({receive.from, bytes, false});
      check_mpi(MPI_Irecv(data, bytes, MPI_BYTE, receive.from, kTag, comm_, &requests_.back()), "MPI_Irecv");
    });
  }
  void send(const Send& send) {
    for_pieces(send.data, [&](std::byte* data, int bytes) {
      requests_.push_back(MPI_REQUEST_NULL);
      pieces_.push_back({send.to, -1, false});
      check_mpi(MPI_Isend(data, bytes, MPI_BYTE, send.to, kTag, comm_, &requests_.back()), "MPI_Isend");
    });
  }

  /// Completes what can be completed now. Returns how many are outstanding.
  int test(const Operation& operation) {
    int done = 0;
    indices_.resize(requests_.size());
    statuses_.resize(requests_.size());
    const int code = MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &done,
                                  indices_.data(), statuses_.data());
    if (code != MPI_SUCCESS && code != MPI_ERR_IN_STATUS) check_mpi(code, "MPI_Testsome");
    for (int i = 0; i < done; ++i) {
      const auto index = static_cast<std::size_t>(indices_[static_cast<std::size_t>(i)]);
      const MPI_Status& status = statuses_[static_cast<std::size_t>(i)];
      require_whole(pieces_[index], status, code == MPI_ERR_IN_STATUS ? status.MPI_ERROR : MPI_SUCCESS,
                    operation);
      pieces_[index].done = true;
      ++complete_;
    }
    return static_cast<int>(pieces_.size()) - complete_;
  }

  [[nodiscard]] std::vector<int> outstanding_peers() const {
    std::vector<int> peers;
    for (const Piece& piece : pieces_) {
      if (!piece.done) peers.push_back(piece.peer);
    }
    std::sort(peers.begin(), peers.end());
    peers.erase(std::unique(peers.begin(), peers.end()), peers.end());
    return peers;
  }

 private:
  template <class Post>
  void for_pieces(const FlatSpan& data, Post post) {
    auto* first = static_cast<std::byte*>(data.data);
    const auto total = static_cast<std::int64_t>(data.bytes());
    for (std::int64_t at = 0; at < total; at += piece_bytes_) {
      post(first + at, static_cast<int>(std::min(piece_bytes_, total - at)));
    }
  }

  static void require_whole(const Piece& piece, const MPI_Status& status, int error,
                            const Operation& operation) {
    int error_class = MPI_SUCCESS;
    MPI_Error_class(error, &error_class);
    int arrived = 0;
    if (error == MPI_SUCCESS && piece.expected >= 0) MPI_Get_count(&status, MPI_BYTE, &arrived);
    const bool matches = piece.expected < 0 || arrived == piece.expected;
    if (error_class != MPI_ERR_TRUNCATE && matches) return check_mpi(error, operation.name);
    throw Error(
        Fault::internal,
        fmt::format("{} (sequence {}): rank {} sent {} bytes where {} are expected", operation.name,
                    operation.sequence, piece.peer,
                    error_class == MPI_ERR_TRUNCATE ? "more" : std::to_string(arrived), piece.expected));
  }

  MPI_Comm comm_;
  std::int64_t piece_bytes_;
  std::vector<MPI_Request> requests_;
  std::vector<Piece> pieces_;
  std::vector<int> indices_;
  std::vector<MPI_Status> statuses_;
  int complete_ = 0;
};

class MpiTransport final : public HostTransport {
 public:
  MpiTransport(std::shared_ptr<MpiJob> job, MPI_Comm comm, int id, int rank, double deadline_s,
               std::int64_t piece_bytes)
      : HostTransport(rank, job->topology, job->crowded, deadline_s),
        job_(std::move(job)),
        comm_(comm),
        id_(id),
        piece_bytes_(piece_bytes) {}
  ~MpiTransport() override {
    if (!job_->failed) MPI_Comm_free(&comm_);
  }

  [[nodiscard]] std::unique_ptr<Transport> duplicate() override {
    return make_mpi_transport(job_, comm_, deadline_s(), piece_bytes_);
  }

  /// Host memory only, whatever MPI takes: Open MPI's MPI_Iallreduce adds on the CPU.
  bool library_sum(FlatSpan data, const Operation& operation, Stream& stream) override {
    const std::optional<MPI_Datatype> type = mpi_datatype(data.dtype);
    if (!type || data.device.kind != DeviceKind::cpu) return false;
    stream.host([this, data, operation, type = *type] {
      publish(position_in(operation, true));
      sum_pieces(data, type, operation);
      publish(position_in(operation, false));
    });
    return true;
  }

 private:
  void move(std::span<const Send> sends, std::span<const Recv> receives,
            const Operation& operation) override {
    const Deadline deadline(deadline_s());
    Requests requests(comm_, piece_bytes_);
    for (const Recv& each : receives) requests.receive(each);
    for (const Send& each : sends) requests.send(each);
    Patience patience(crowded());
    for (int before = -1;;) {
      const int outstanding = requests.test(operation);
      if (outstanding == 0) return;
      if (deadline.expired()) expire(operation, deadline, requests.outstanding_peers());
      if (outstanding != before) patience.renew();
      before = outstanding;
      patience.pause();
    }
  }

  void sum_pieces(FlatSpan data, MPI_Datatype type, const Operation& operation) {
    const Deadline deadline(deadline_s());
    const std::int64_t piece = piece_bytes_ / static_cast<std::int64_t>(size_of(data.dtype));
    for (std::int64_t first = 0; first < data.count; first += piece) {
      const auto count = static_cast<int>(std::min(piece, data.count - first));
      MPI_Request request = MPI_REQUEST_NULL;
      check_mpi(MPI_Iallreduce(MPI_IN_PLACE, data.at(first), count, type, MPI_SUM, comm_, &request),
                "MPI_Iallreduce");
      if (!complete_by(request, deadline, crowded())) expire(operation, deadline, {});
    }
  }

  [[noreturn]] void expire(const Operation& operation, const Deadline& deadline,
                           std::vector<int> waiting_for) {
    throw report_expired(*job_, id_, {rank(), operation, deadline.waited_s(), std::move(waiting_for), {}});
  }

  [[nodiscard]] bool takes(DeviceKind kind) const noexcept override {
    return kind == DeviceKind::cpu || job_->cuda_aware;
  }
  [[nodiscard]] bool shares() const noexcept override { return topology().nodes() == 1; }

  /// The window's own calls wait without a deadline, so ranks first meet with one.
  std::vector<std::byte*> share(std::size_t bytes) override {
    const Deadline deadline(deadline_s());
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Ibarrier(comm_, &request), "MPI_Ibarrier");
    if (!complete_by(request, deadline)) expire({.name = "sharing memory"}, deadline, {});
    return share_window(*job_, comm_, bytes);
  }

  void stop_if_hopeless(const Operation& operation, const Deadline& deadline,
                        const SharedExchange::Missing& missing) override {
    if (deadline.expired()) expire(operation, deadline, missing());
  }

  void publish(const Position& position) override { job_->watch.publish(id_, position); }

  std::shared_ptr<MpiJob> job_;
  MPI_Comm comm_;
  int id_;
  std::int64_t piece_bytes_;
};

}  // namespace

std::unique_ptr<Transport> make_mpi_transport(std::shared_ptr<MpiJob> job, MPI_Comm comm, double deadline_s,
                                              std::int64_t piece_bytes) {
  const Deadline deadline(deadline_s);
  const auto require = [&](MPI_Request& request) {
    if (complete_by(request, deadline)) return;
    job->failed = true;
    throw Error(Fault::communication,
                fmt::format("not all ranks came to make a transport within {:.1f} s", deadline_s),
                "look for a rank that failed or is slow to start");
  };
  MPI_Comm own = MPI_COMM_NULL;
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Comm_idup(comm, &own, &request), "MPI_Comm_idup");
  require(request);
  MPI_Comm_set_errhandler(own, MPI_ERRORS_RETURN);
  int rank = 0;
  MPI_Comm_rank(own, &rank);
  const int id = number_transport(*job, own, deadline);
  return std::make_unique<MpiTransport>(std::move(job), own, id, rank, deadline_s, piece_bytes);
}

}  // namespace lockstep::comm
