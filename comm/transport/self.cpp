// One rank without peers: messages to oneself are copies.
#include <cstring>

#include "comm/transport/host_transport.h"
#include "comm/transport/processors.h"
#include "comm/worlds.h"

namespace lockstep::comm {

namespace {

class SelfTransport final : public HostTransport {
 public:
  SelfTransport() : HostTransport(0, 1, false, 0) {}
  [[nodiscard]] std::unique_ptr<Transport> duplicate() override { return std::make_unique<SelfTransport>(); }
  bool library_sum(FlatSpan /*data*/, const Operation& /*operation*/, Stream& /*stream*/) override {
    return true;
  }

 private:
  void move(std::span<const Send> sends, std::span<const Recv> receives,
            const Operation& operation) override {
    bool matched = sends.size() == receives.size();
    for (std::size_t i = 0; matched && i < sends.size(); ++i) {
      matched = sends[i].data.bytes() == receives[i].data.bytes();
      if (matched) std::memmove(receives[i].data.data, sends[i].data.data, sends[i].data.bytes());
    }
    if (!matched) {
      throw Error(Fault::internal,
                  std::string(operation.name) + ": the messages of a lone rank to itself do not match");
    }
  }
  void publish(const Position& /*position*/) override {}
};

class SelfWorld final : public World {
 public:
  [[nodiscard]] int rank() const noexcept override { return 0; }
  [[nodiscard]] int size() const noexcept override { return 1; }
  [[nodiscard]] int local_rank() const noexcept override { return 0; }
  [[nodiscard]] int local_size() const noexcept override { return 1; }
  [[nodiscard]] int processors() const noexcept override { return count(own_processors()); }
  [[nodiscard]] std::string host() const override { return this_host(); }
  [[nodiscard]] std::unique_ptr<Transport> transport(double /*deadline_s*/) override {
    return std::make_unique<SelfTransport>();
  }
  [[nodiscard]] std::string description() const override { return "self"; }
};

}  // namespace

std::unique_ptr<World> make_self_world() { return std::make_unique<SelfWorld>(); }

}  // namespace lockstep::comm
