// The report of a wait that expired, also for transports that move bytes by other means (NCCL) but whose
// ranks are MPI's.
#include <spdlog/fmt/fmt.h>

#include <chrono>
#include <thread>
#include <utility>

#include "comm/transport/mpi_job.h"

namespace lockstep::comm {

namespace {

/// How long a rank whose wait expired too leaves the report, and ending the job, to the rank that expired
/// first.
constexpr auto kLeaveReport = std::chrono::seconds(5);

class MpiWatchpost final : public Watchpost {
 public:
  MpiWatchpost(std::shared_ptr<MpiJob> job, int id, int rank) : job_(std::move(job)), id_(id), rank_(rank) {}

  void publish(const Position& position) override { job_->watch.publish(id_, position); }

  [[nodiscard]] DeadlineExpired report(const Operation& operation, double waited_s) override {
    return report_expired(*job_, id_, {rank_, operation, waited_s, {}, {}});
  }

 private:
  std::shared_ptr<MpiJob> job_;
  int id_;
  int rank_;
};

}  // namespace

DeadlineExpired report_expired(MpiJob& job, int transport, Expired expired) {
  job.failed = true;
  MpiWatch::Answers answers = job.watch.ask(transport);
  expired.positions = std::move(answers.positions);
  DeadlineExpired report(expired);
  if (answers.told_elsewhere) std::this_thread::sleep_for(kLeaveReport);
  return report;
}

int number_transport(MpiJob& job, MPI_Comm comm, const Deadline& deadline) {
  int id = ++job.transports;  // all ranks use rank 0's number
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibcast(&id, 1, MPI_INT, 0, comm, &request), "MPI_Ibcast");
  if (complete_by(request, deadline)) return id;
  job.failed = true;
  throw Error(Fault::communication,
              fmt::format("not all ranks came to make a transport within {:.1f} s", deadline.waited_s()),
              "look for a rank that failed or is slow to start");
}

std::shared_ptr<Watchpost> make_mpi_watchpost(std::shared_ptr<MpiJob> job, MPI_Comm comm, double deadline_s) {
  const int id = number_transport(*job, comm, Deadline(deadline_s));
  int rank = 0;
  MPI_Comm_rank(comm, &rank);
  return std::make_shared<MpiWatchpost>(std::move(job), id, rank);
}

}  // namespace lockstep::comm
