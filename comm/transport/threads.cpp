#include "comm/transport/threads.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstring>

namespace lockstep::comm {

std::shared_ptr<Channel> ThreadJob::duplicate(Channel& parent, int rank) {
  const std::lock_guard lock(mutex);
  const int index = parent.duplicates[static_cast<std::size_t>(rank)]++;
  std::shared_ptr<Channel>& channel = channels_[{&parent, index}];
  if (channel == nullptr) channel = std::make_shared<Channel>(size);
  return channel;
}

void ThreadJob::fail(int rank, const std::string& what) {
  const std::lock_guard lock(mutex);
  if (failure.empty()) failure = fmt::format("rank {} failed: {}", rank, what);
  wake_all();
}

int ThreadJob::distance_from_cause(const std::string& text) const {
  if (text == failure) return 2;
  return expired.count(text) != 0 ? 1 : 0;
}

void ThreadJob::end(int rank) {
  const std::lock_guard lock(mutex);
  ended[static_cast<std::size_t>(rank)] = 1;
  wake_all();
}

void ThreadJob::stop_if_hopeless(const Channel& channel, const Operation& operation, int rank,
                                 const Deadline& deadline, const std::vector<int>& peers) {
  if (!failure.empty()) throw PeerFailed(Fault::communication, failure);
  for (const int peer : peers) {
    if (ended[static_cast<std::size_t>(peer)] == 0) continue;
    throw Error(Fault::communication,
                fmt::format("{} (sequence {}) on rank {}: rank {} has ended without taking part",
                            operation.name, operation.sequence, rank, peer));
  }
  if (!deadline.expired()) return;
  Expired late{rank, operation, deadline.waited_s(), peers, {}};
  late.positions.assign(channel.positions.begin(), channel.positions.end());
  const DeadlineExpired error(late);
  expired.insert(error.what());
  throw error;
}

void ThreadJob::wake_all() {
  for (std::condition_variable& each : wake) each.notify_all();
}

namespace {

/// One transfer of one rank, from its first post to its last acknowledgement. Holds the job's lock except
/// while it copies.
class Delivery {
 public:
  Delivery(ThreadJob& job, Channel& channel, int rank, const Operation& operation)
      : job_(job), channel_(channel), rank_(rank), operation_(operation), lock_(job.mutex) {}
  Delivery(const Delivery&) = delete;
  Delivery& operator=(const Delivery&) = delete;
  ~Delivery() { withdraw(); }

  void run(std::span<const Send> sends, std::span<const Recv> receives, const Deadline& deadline) {
    post(sends);
    pending_.assign(receives.begin(), receives.end());
    while (true) {
      if (take_one()) continue;
      if (pending_.empty() && acknowledged()) return;
      job_.stop_if_hopeless(channel_, operation_, rank_, deadline, waiting_for());
      waker(rank_).wait_until(lock_, deadline.end());
    }
  }

 private:
  std::condition_variable& waker(int rank) { return job_.wake[static_cast<std::size_t>(rank)]; }

  void post(std::span<const Send> sends) {
    posts_.resize(sends.size());
    targets_.resize(sends.size());
    for (std::size_t i = 0; i < sends.size(); ++i) {
      posts_[i] = {rank_, static_cast<const std::byte*>(sends[i].data.data), sends[i].data.bytes(), false};
      targets_[i] = sends[i].to;
      channel_.box(rank_, targets_[i]).push_back(&posts_[i]);
      waker(targets_[i]).notify_all();
    }
  }

  /// Copies the first message that has arrived for a pending receive; false when there is none.
  bool take_one() {
    std::vector<char> looked(
        static_cast<std::size_t>(channel_.size));  // order per pair: only the first of each peer
    for (auto receive = pending_.begin(); receive != pending_.end(); ++receive) {
      char& seen = looked[static_cast<std::size_t>(receive->from)];
      std::deque<Post*>& box = channel_.box(receive->from, rank_);
      if (seen != 0 || box.empty()) {
        seen = 1;
        continue;
      }
      const Recv taken = *receive;
      Post& post = *box.front();
      require_size(post, taken);
      box.pop_front();
      pending_.erase(receive);
      copy(post, taken);
      return true;
    }
    return false;
  }

  void copy(Post& post, const Recv& receive) {
    lock_.unlock();  // the sender leaves its bytes alone until `done`
    std::memcpy(receive.data.data, post.data, post.bytes);
    lock_.lock();
    const int sender = post.from;
    post.done = true;
    waker(sender).notify_all();
  }

  void require_size(const Post& post, const Recv& receive) const {
    if (post.bytes == receive.data.bytes()) return;
    throw Error(
        Fault::internal,
        fmt::format("{} (sequence {}): rank {} sent {} bytes where rank {} expects {}", operation_.name,
                    operation_.sequence, post.from, post.bytes, rank_, receive.data.bytes()));
  }

  [[nodiscard]] bool acknowledged() const {
    return std::all_of(posts_.begin(), posts_.end(), [](const Post& post) { return post.done; });
  }

  [[nodiscard]] std::vector<int> waiting_for() const {
    std::vector<int> peers;
    for (const Recv& receive : pending_) peers.push_back(receive.from);
    for (std::size_t i = 0; i < posts_.size(); ++i) {
      if (!posts_[i].done) peers.push_back(targets_[i]);
    }
    std::sort(peers.begin(), peers.end());
    peers.erase(std::unique(peers.begin(), peers.end()), peers.end());
    return peers;
  }

  /// After a failure no peer may read this rank's bytes: takes back what is still on offer, waits for copies
  /// that run.
  void withdraw() {
    for (std::size_t i = 0; i < posts_.size(); ++i) {
      if (posts_[i].done) continue;
      std::deque<Post*>& box = channel_.box(rank_, targets_[i]);
      const auto found = std::find(box.begin(), box.end(), &posts_[i]);
      if (found != box.end()) {
        box.erase(found);
      } else {
        waker(rank_).wait(lock_, [&] { return posts_[i].done; });
      }
    }
  }

  ThreadJob& job_;
  Channel& channel_;
  int rank_;
  const Operation& operation_;
  std::unique_lock<std::mutex> lock_;
  std::vector<Post> posts_;
  std::vector<int> targets_;
  std::vector<Recv> pending_;
};

class ThreadTransport final : public HostTransport {
 public:
  ThreadTransport(std::shared_ptr<ThreadJob> job, std::shared_ptr<Channel> channel, int rank,
                  double deadline_s)
      : HostTransport(rank, job->topology, job->crowded, deadline_s),
        job_(std::move(job)),
        channel_(std::move(channel)) {}

  [[nodiscard]] std::unique_ptr<Transport> duplicate() override {
    return make_thread_transport(job_, job_->duplicate(*channel_, rank()), rank(), deadline_s());
  }

 private:
  void move(std::span<const Send> sends, std::span<const Recv> receives,
            const Operation& operation) override {
    try {
      Delivery(*job_, *channel_, rank(), operation).run(sends, receives, Deadline(deadline_s()));
    } catch (const PeerFailed&) {
      throw;
    } catch (const std::exception& error) {
      job_->fail(rank(), error.what());
      throw;
    }
  }
  [[nodiscard]] bool shares() const noexcept override { return topology().nodes() == 1; }

  std::vector<std::byte*> share(std::size_t bytes) override {
    const Operation operation{.name = "sharing memory"};
    const Deadline deadline(deadline_s());
    Memory mine = allocate(Device{}, bytes);
    std::unique_lock lock(job_->mutex);
    const auto index = static_cast<std::size_t>(channel_->shares[static_cast<std::size_t>(rank())]++);
    if (channel_->shared.size() <= index) channel_->shared.resize(index + 1);
    channel_->shared[index].resize(static_cast<std::size_t>(size()));
    channel_->shared[index][static_cast<std::size_t>(rank())] = std::move(mine);
    job_->wake_all();
    while (true) {
      std::vector<std::byte*> blocks;
      std::vector<int> missing;
      for (int peer = 0; peer < size(); ++peer) {
        blocks.push_back(
            static_cast<std::byte*>(channel_->shared[index][static_cast<std::size_t>(peer)].data()));
        if (blocks.back() == nullptr) missing.push_back(peer);
      }
      if (missing.empty()) return blocks;
      job_->stop_if_hopeless(*channel_, operation, rank(), deadline, missing);
      job_->wake[static_cast<std::size_t>(rank())].wait_until(lock, deadline.end());
    }
  }

  /// Ranks end under the lock: one that came before is not missing any more.
  void stop_if_hopeless(const Operation& operation, const Deadline& deadline,
                        const SharedExchange::Missing& missing) override {
    const std::lock_guard lock(job_->mutex);
    job_->stop_if_hopeless(*channel_, operation, rank(), deadline, missing());
  }

  void tell_failure(const std::exception& error) override {
    if (dynamic_cast<const PeerFailed*>(&error) == nullptr) job_->fail(rank(), error.what());
  }

  void publish(const Position& position) override {
    const std::lock_guard lock(job_->mutex);
    channel_->positions[static_cast<std::size_t>(rank())] = position;
  }

  std::shared_ptr<ThreadJob> job_;
  std::shared_ptr<Channel> channel_;
};

}  // namespace

std::unique_ptr<Transport> make_thread_transport(std::shared_ptr<ThreadJob> job,
                                                 std::shared_ptr<Channel> channel, int rank,
                                                 double deadline_s) {
  return std::make_unique<ThreadTransport>(std::move(job), std::move(channel), rank, deadline_s);
}

}  // namespace lockstep::comm
