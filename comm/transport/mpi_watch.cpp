#include <spdlog/fmt/fmt.h>

#include <array>
#include <chrono>

#include "comm/transport/mpi_job.h"
#include "comm/transport/patience.h"

namespace lockstep::comm {

namespace {

constexpr int kAsk = 1;  // tag of questions
constexpr int kAnswer =
    2;  // first tag of answers; each transport has its own, so that two that expire at once do not mix
constexpr int kAnswerTags = 16384;  // MPI promises tags up to 32767
constexpr double kAnswersWithin_s = 2.0;
constexpr auto kLookEvery =
    std::chrono::milliseconds(50);  // 20 wake-ups a second cost nothing, and the answers come at once

int answer_tag(int transport) { return kAnswer + transport % kAnswerTags; }

}  // namespace

void check_mpi(int code, std::string_view call) {
  if (code == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  throw Error(Fault::communication, fmt::format("{} failed: {}", call, text.data()),
              "a link or a peer broke, or MPI is out of resources; see the messages of mpirun");
}

bool complete_by(MPI_Request& request, const Deadline& deadline, bool crowded) {
  Patience patience(crowded);
  while (true) {
    int done = 0;
    check_mpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test");
    if (done != 0) return true;
    if (deadline.expired()) return false;
    patience.pause();
  }
}

MpiWatch::MpiWatch() {
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm_), "MPI_Comm_dup");
  MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
  MPI_Comm_rank(comm_, &rank_);
  MPI_Comm_size(comm_, &size_);
  if (size_ > 1) thread_ = std::thread([this] { serve(); });
}

MpiWatch::~MpiWatch() { stop(); }

void MpiWatch::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopping_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void MpiWatch::publish(int transport, const Position& position) {
  const std::lock_guard lock(mutex_);
  positions_[transport] = position;
}

void MpiWatch::serve() {
  std::unique_lock lock(mutex_);
  while (!stopping_.wait_for(lock, kLookEvery, [this] { return stop_; })) answer_all();
}

/// Under the lock; every call in it returns at once.
void MpiWatch::answer_all() {
  while (true) {
    int asked = 0;
    MPI_Status status;
    if (MPI_Iprobe(MPI_ANY_SOURCE, kAsk, comm_, &asked, &status) != MPI_SUCCESS || asked == 0) break;
    Message question;
    MPI_Recv(&question, sizeof question, MPI_BYTE, status.MPI_SOURCE, kAsk, comm_, MPI_STATUS_IGNORE);
    const bool reporting = reporting_[question.transport];
    if (!reporting) asked_[question.transport] = true;
    send({question.transport, reporting ? 1 : 0, positions_[question.transport]}, status.MPI_SOURCE,
         answer_tag(question.transport));
  }
  outgoing_.remove_if([](Outgoing& each) {
    int done = 0;
    return MPI_Test(&each.request, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done != 0;
  });
}

/// Under the lock.
void MpiWatch::send(const Message& message, int to, int tag) {
  Outgoing& each = outgoing_.emplace_back();
  each.message = message;
  MPI_Isend(&each.message, sizeof each.message, MPI_BYTE, to, tag, comm_, &each.request);
}

MpiWatch::Answers MpiWatch::ask(int transport) {
  Answers answers;
  {
    const std::lock_guard lock(mutex_);
    answers.told_elsewhere = asked_[transport];
    reporting_[transport] = true;
    for (int peer = 0; peer < size_; ++peer) {
      if (peer != rank_) send({transport, 1, {}}, peer, kAsk);
    }
  }
  answers.positions.resize(static_cast<std::size_t>(size_));
  const std::vector<std::optional<Message>> heard = collect(transport);
  for (int peer = 0; peer < size_; ++peer) {
    const std::optional<Message>& message = heard[static_cast<std::size_t>(peer)];
    if (!message) continue;
    answers.positions[static_cast<std::size_t>(peer)] = message->position;
    // Two that expired at once see each other report: then the lower one does.
    if (message->reporting != 0 && peer < rank_) answers.told_elsewhere = true;
  }
  return answers;
}

std::vector<std::optional<MpiWatch::Message>> MpiWatch::collect(int transport) {
  std::vector<std::optional<Message>> heard(static_cast<std::size_t>(size_));
  const Deadline deadline(kAnswersWithin_s);
  Patience patience;
  for (int missing = size_ - 1; missing > 0 && !deadline.expired();) {
    int arrived = 0;
    MPI_Status status;
    check_mpi(MPI_Iprobe(MPI_ANY_SOURCE, answer_tag(transport), comm_, &arrived, &status), "MPI_Iprobe");
    if (arrived == 0) {
      patience.pause();
      continue;
    }
    Message message;
    MPI_Recv(&message, sizeof message, MPI_BYTE, status.MPI_SOURCE, answer_tag(transport), comm_,
             MPI_STATUS_IGNORE);
    heard[static_cast<std::size_t>(status.MPI_SOURCE)] = message;
    --missing;
  }
  return heard;
}

bool MpiWatch::farewell(double deadline_s) {
  MPI_Request request = MPI_REQUEST_NULL;
  if (MPI_Ibarrier(comm_, &request) != MPI_SUCCESS) return false;
  return complete_by(request, Deadline(deadline_s));
}

void MpiWatch::release() {
  stop();
  MPI_Comm_free(&comm_);
}

}  // namespace lockstep::comm
