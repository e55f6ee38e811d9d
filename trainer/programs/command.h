// A subcommand of `lockstep`: its name, one line for the overview, and what it does. Adding one is a file and
// a row in main.cpp's table.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "comm/transport.h"
#include "comm/worlds.h"

namespace lockstep::programs {

/// What a command is given: the words after its name, and MPI when it asks for it.
class Context {
 public:
  Context(int argc, char** argv) : argc_(argc), argv_(argv) {}
  /// argv[0] is "lockstep <command>".
  [[nodiscard]] int argc() const noexcept { return argc_; }
  [[nodiscard]] char** argv() const noexcept { return argv_; }
  /// Takes the first word away: what follows belongs to a command of the command.
  void shift() {
    --argc_;
    ++argv_;
  }
  /// Starts MPI on first use; collective.
  [[nodiscard]] comm::World& world();
  /// Rank of this process; before world() was called the one that the launcher told it.
  [[nodiscard]] int rank() const { return world_ ? world_->rank() : comm::launched_rank(); }
  /// For work that one process does. True in the first; the second tells that the others do nothing.
  [[nodiscard]] bool works_alone() const;
  [[nodiscard]] const comm::World* started() const noexcept { return world_.get(); }
  /// Ends MPI in order; call when all ranks have done their work.
  void finish() { world_.reset(); }

 private:
  int argc_;
  char** argv_;
  std::unique_ptr<comm::World> world_;
};

struct Command {
  std::string_view name;
  std::string_view summary;
  int (*run)(Context& context);  ///< returns the exit code; throws Error
};

extern const Command kBench, kData, kEval, kExport, kGenerate, kTrain;

}  // namespace lockstep::programs
