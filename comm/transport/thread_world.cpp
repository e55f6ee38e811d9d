// Ranks as threads of this process: the harness, and which of several failures is the one to tell.
#include <algorithm>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

#include "comm/transport/processors.h"
#include "comm/transport/threads.h"
#include "comm/worlds.h"

namespace lockstep::comm {

namespace {

class ThreadWorld final : public World {
 public:
  ThreadWorld(std::shared_ptr<ThreadJob> job, int rank) : job_(std::move(job)), rank_(rank) {
    const std::vector<int> node = job_->topology.ranks_of(job_->topology.node_of(rank));
    local_rank_ = static_cast<int>(std::find(node.begin(), node.end(), rank) - node.begin());
    local_size_ = static_cast<int>(node.size());
  }
  [[nodiscard]] int rank() const noexcept override { return rank_; }
  [[nodiscard]] int size() const noexcept override { return job_->size; }
  [[nodiscard]] int local_rank() const noexcept override { return local_rank_; }
  [[nodiscard]] int local_size() const noexcept override { return local_size_; }
  [[nodiscard]] int processors() const noexcept override { return count(own_processors()); }
  [[nodiscard]] std::string host() const override { return this_host(); }
  [[nodiscard]] std::unique_ptr<Transport> transport(double deadline_s) override {
    return make_thread_transport(job_, job_->duplicate(job_->root, rank_), rank_, deadline_s);
  }
  [[nodiscard]] std::string description() const override { return "threads"; }

 private:
  std::shared_ptr<ThreadJob> job_;
  int rank_;
  int local_rank_;
  int local_size_;
};

std::string text_of(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "an exception of unknown type";
  }
}

std::exception_ptr root_cause(const ThreadJob& job, const std::vector<std::exception_ptr>& failures) {
  std::exception_ptr cause;
  int nearest = 3;
  for (const std::exception_ptr& failure : failures) {
    if (failure == nullptr) continue;
    const int distance = job.distance_from_cause(text_of(failure));
    if (distance < nearest) cause = failure;
    nearest = std::min(nearest, distance);
  }
  return cause;
}

}  // namespace

void run_ranks_as_threads(const Topology& topology, const std::function<void(World&)>& body) {
  const int ranks = topology.ranks();
  const auto job = std::make_shared<ThreadJob>(topology);
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(ranks));
  std::vector<std::thread> threads;
  threads.reserve(failures.size());
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&job, &body, rank, &failure = failures[static_cast<std::size_t>(rank)]] {
      try {
        ThreadWorld world(job, rank);
        body(world);
      } catch (...) {
        failure = std::current_exception();
        job->fail(rank, text_of(failure));
      }
      job->end(rank);
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (const std::exception_ptr cause = root_cause(*job, failures)) std::rethrow_exception(cause);
}

}  // namespace lockstep::comm
