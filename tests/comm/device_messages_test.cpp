// How messages of GPUs travel over a host's transport: which path is taken, and what each hands on. Here host
// memory stands for a GPU's.
#include "comm/device_messages.h"

#include <gtest/gtest.h>

#include <vector>

#include "comm/device_transport.h"
#include "comm/worlds.h"
#include "core/error.h"
#include "tests/comm/sums.h"

namespace lockstep::comm {
namespace {

TEST(MessagePath, is_direct_where_mpi_takes_gpu_memory_unless_staged_is_asked_for) {
  EXPECT_EQ(message_path("auto", true, "key"), MessagePath::direct);
  EXPECT_EQ(message_path("auto", false, "key"), MessagePath::staged);
  EXPECT_EQ(message_path("direct", true, "key"), MessagePath::direct);
  EXPECT_EQ(message_path("staged", true, "key"), MessagePath::staged);
  EXPECT_EQ(message_path("staged", false, "key"), MessagePath::staged);
}

TEST(MessagePath, direct_without_such_an_mpi_is_refused_by_its_key) {
  try {
    static_cast<void>(message_path("direct", false, "transport.mpi.gpu_messages (a.yaml:3)"));
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_NE(std::string(error.what()).find("transport.mpi.gpu_messages (a.yaml:3) is direct"),
              std::string::npos)
        << error.what();
  }
}

/// A lone rank whose MPI takes GPU memory, or not, and that says it is one of two.
class Claiming final : public World {
 public:
  explicit Claiming(bool takes) : takes_(takes) {}
  int rank() const noexcept override { return 0; }
  int size() const noexcept override { return 2; }
  int local_rank() const noexcept override { return 0; }
  int local_size() const noexcept override { return 2; }
  int processors() const noexcept override { return 2; }
  std::string host() const override { return "here"; }
  std::unique_ptr<Transport> transport(double /*deadline_s*/) override { return nullptr; }
  bool takes_gpu_memory() const override { return takes_; }
  std::string description() const override { return "claims"; }

 private:
  bool takes_;
};

TEST(MessagesText, names_the_path) {
  const auto text = [](bool takes, const std::string& wanted) {
    const Options options = Options::of(transports().row("mpi").settings, {{"gpu_messages", wanted}});
    return gpu_messages_text("mpi", options, Claiming(takes));
  };
  EXPECT_EQ(text(true, "auto"), "MPI, directly");
  EXPECT_EQ(text(true, "staged"), "MPI through page-locked memory");
  EXPECT_EQ(text(false, "auto"), "MPI through page-locked memory");
  EXPECT_THROW(static_cast<void>(text(false, "direct")), Error);
  EXPECT_EQ(gpu_messages_text("mpi", Options(), *make_self_world()), "") << "nobody to send to";
}

/// Notes where the messages that it is given lie.
class NotingTransport final : public Transport {
 public:
  NotingTransport(std::unique_ptr<Transport> inner, std::vector<const void*>& seen)
      : inner_(std::move(inner)), seen_(seen) {}
  int rank() const noexcept override { return inner_->rank(); }
  int size() const noexcept override { return inner_->size(); }
  void transfer(std::span<const Send> sends, std::span<const Recv> receives, const Operation& operation,
                Stream& stream) override {
    for (const Send& send : sends) seen_.push_back(send.data.data);
    for (const Recv& receive : receives) seen_.push_back(receive.data.data);
    inner_->transfer(sends, receives, operation, stream);
  }
  std::unique_ptr<Transport> duplicate() override { return inner_->duplicate(); }
  Traffic traffic() const noexcept override { return inner_->traffic(); }

 private:
  std::unique_ptr<Transport> inner_;
  std::vector<const void*>& seen_;
};

TEST(DeviceMessages, direct_ones_go_from_buffer_to_buffer_and_staged_ones_do_not) {
  for (const MessagePath path : {MessagePath::direct, MessagePath::staged}) {
    std::vector<const void*> seen;
    const auto transport = make_device_messages(
        std::make_unique<NotingTransport>(make_self_world()->transport(10), seen), Device{}, path);
    const auto stream = make_stream(Device{});
    std::vector<float> from(1000, 1), to(1000);
    stream->host([&] { from.assign(from.size(), 7); });  // before the message, in stream order
    const Send send{0, flat(std::span(from))};
    const Recv receive{0, flat(std::span(to))};
    transport->transfer({&send, 1}, {&receive, 1}, {.name = "swap"}, *stream);
    stream->host([&] { to[0] += 1; });  // and after it
    stream->synchronize();
    ASSERT_EQ(seen.size(), 2u);
    EXPECT_EQ(seen[0] == from.data(), path == MessagePath::direct);
    EXPECT_EQ(seen[1] == to.data(), path == MessagePath::direct);
    EXPECT_EQ(to[0], 8);
    EXPECT_EQ(to[999], 7);
  }
}

TEST(DeviceMessages, every_schedule_sums_over_either_path_with_its_stated_traffic) {
  for (const MessagePath path : {MessagePath::direct, MessagePath::staged}) {
    run_ranks_as_threads(3, [&](World& world) {
      for (const NamedSchedule& chosen : all_schedules()) {
        Summer summer(world, chosen);
        summer.collectives =
            make_collectives(std::make_unique<CountingTransport>(
                                 make_device_messages(world.transport(60), Device{}, path), summer.rounds),
                             chosen.schedule);
        for (const std::int64_t count : {0, 1, 97, 10'007}) expect_exact_sum<float>(summer, count);
      }
    });
  }
}

}  // namespace
}  // namespace lockstep::comm
