#include "trainer/signals.h"

#include <atomic>
#include <csignal>
#include <cstddef>

namespace lockstep::trainer {

namespace {

constexpr int kSignals[] = {SIGTERM, SIGINT, SIGUSR1};

// Signal handlers may only touch lock-free atomics.
std::atomic<int> received{0};
struct sigaction previous[std::size(kSignals)];

extern "C" void on_signal(int number) {
  const int before = received.exchange(number);
  // Asked twice by hand: give up at once. The newest whole checkpoint stays valid.
  if (before != 0 && number != SIGUSR1) {
    std::signal(number, SIG_DFL);
    std::raise(number);
  }
}

}  // namespace

SignalWatch::SignalWatch() {
  received = 0;
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  for (std::size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &action, &previous[i]);
}

SignalWatch::~SignalWatch() {
  for (std::size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &previous[i], nullptr);
}

std::string SignalWatch::name() const {
  switch (received) {
    case SIGTERM:
      return "SIGTERM";
    case SIGINT:
      return "SIGINT";
    case SIGUSR1:
      return "SIGUSR1";
    default:
      return {};
  }
}

std::string stop_text(const std::string& reason, comm::Control& control) {
  for (const std::string& each : control.gather(reason))
    if (!each.empty()) return "asked to stop by " + each + ": finishing the step and saving";
  return "asked to stop: finishing the step and saving";
}

}  // namespace lockstep::trainer
