// The `lockstep` command. Only this file prints errors and picks exit codes; a failed rank ends the whole
// job.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <thread>

#include "comm/worlds.h"
#include "core/error.h"
#include "trainer/programs/command.h"
#include "trainer/programs/version.h"

namespace lockstep::programs {

comm::World& Context::world() {
  if (!world_) world_ = comm::make_mpi_world(&argc_, &argv_);
  return *world_;
}

bool Context::works_alone() const {
  if (rank() == 1)
    std::fprintf(stderr, "this works in one process: of those that were started the first does it all\n");
  return rank() == 0;
}

namespace {

const Command* const kCommands[] = {&kTrain, &kEval, &kGenerate, &kData, &kBench, &kExport};

void print_overview() {
  std::printf(
      "lockstep %s: data-parallel training over MPI\n\n"
      "usage: lockstep COMMAND ...            one process\n"
      "       mpirun -n 4 lockstep COMMAND ...   four ranks\n\ncommands:\n",
      LOCKSTEP_VERSION);
  for (const Command* command : kCommands) {
    std::printf("  %-10s %s\n", std::string(command->name).c_str(), std::string(command->summary).c_str());
  }
  std::printf(
      "\n`lockstep COMMAND --help` tells the rest; `lockstep --version` says what was built in. Start with "
      "./quickstart.sh.\n");
}

/// An error that every rank meets alike (a bad config) is printed once: rank 0 prints at once and ends the
/// job, the others would only print if rank 0 were still at work after this long.
constexpr std::chrono::milliseconds kLetRankZeroSpeak{1000};
/// Before MPI starts nobody can end the job but the launcher, which takes about a second to see that rank 0
/// has failed.
constexpr std::chrono::milliseconds kLetLauncherSee{4000};

[[noreturn]] void fail(Context& context, int exit_code, const char* kind, const std::string& what,
                       const std::string& hint) {
  if (context.rank() != 0)
    std::this_thread::sleep_for(context.started() == nullptr ? kLetLauncherSee : kLetRankZeroSpeak);
  std::string where;
  if (const comm::World* world = context.started(); world != nullptr && world->size() > 1) {
    where = " [rank " + std::to_string(world->rank()) + " on " + world->host() + "]";
  }
  std::fprintf(stderr, "\nlockstep: %s error%s: %s\n", kind, where.c_str(), what.c_str());
  if (!hint.empty()) std::fprintf(stderr, "  cure: %s\n", hint.c_str());
  if (context.started() != nullptr) comm::abort_job(exit_code);
  std::exit(exit_code);
}

int run(const Command& command, Context& context) {
  try {
    const int code = command.run(context);
    context.finish();
    return code;
  } catch (const Error& error) {
    fail(context, error.exit_code(), fault_name(error.fault()), error.what(), error.hint());
  } catch (const std::exception& error) {
    fail(context, static_cast<int>(Fault::internal), "internal", error.what(),
         "this is a mistake of the program: please report it");
  }
}

int dispatch(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "--help";
  if (name == "--help" || name == "-h" || name == "help") {
    print_overview();
    return 0;
  }
  if (name == "--version") {
    std::printf("%s", version_text().c_str());
    return 0;
  }
  std::vector<std::string> names;
  for (const Command* command : kCommands) {
    if (command->name == name) {
      Context context(argc - 1, argv + 1);
      return run(*command, context);
    }
    names.emplace_back(command->name);
  }
  const std::string meant = nearest(name, names);
  std::fprintf(stderr, "lockstep: there is no command '%s'%s\n", name.c_str(),
               meant.empty() ? "" : (": did you mean '" + meant + "'?").c_str());
  std::fprintf(stderr, "  cure: `lockstep --help` lists the commands\n");
  return static_cast<int>(Fault::config);
}

}  // namespace
}  // namespace lockstep::programs

int main(int argc, char** argv) { return lockstep::programs::dispatch(argc, argv); }
