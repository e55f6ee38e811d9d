// Being asked to stop: SIGTERM, SIGINT and SIGUSR1 set a flag that the training loop reads between steps; all
// ranks then agree, finish the step, save, and the program ends with exit code 75.
#pragma once

#include <string>

#include "comm/collectives.h"

namespace lockstep::trainer {

/// Exit code of a run that stopped early and can be resumed (EX_TEMPFAIL of sysexits.h).
inline constexpr int kStoppedExitCode = 75;

/// Installs handlers while it lives; one at a time. A second SIGINT or SIGTERM ends the process at once.
class SignalWatch {
 public:
  SignalWatch();
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;
  /// "SIGUSR1", or empty while nobody asked.
  [[nodiscard]] std::string name() const;
};

/// Collective: what to say of a stop, with the reason of the first rank that has one; a signal need not reach
/// all.
[[nodiscard]] std::string stop_text(const std::string& reason, comm::Control& control);

}  // namespace lockstep::trainer
