// lockstep train CONFIG.yaml [--set key=value]... [--run-dir DIR] [--resume] [--dry-run]
#include <cstdio>
#include <cxxopts.hpp>
#include <filesystem>

#include "comm/collectives.h"
#include "comm/worlds.h"
#include "core/log.h"
#include "trainer/parts.h"
#include "trainer/programs/command.h"
#include "trainer/programs/config_file.h"
#include "trainer/signals.h"
#include "trainer/training.h"

namespace lockstep::programs {

namespace {

cxxopts::Options train_usage() {
  cxxopts::Options options("lockstep train",
                           "Trains the model of a config file, alone or under mpirun / srun.\n");
  options.positional_help("CONFIG.yaml").show_positional_help();
  options.add_options()                                                                                    //
      ("config", "the recipe, such as configs/quickstart.yaml", cxxopts::value<std::string>())             //
      ("s,set", "override a key: --set optimizer.name=adamw", cxxopts::value<std::vector<std::string>>())  //
      ("run-dir", "where the run keeps its files (default: runs/<config>-<number>)",
       cxxopts::value<std::string>()->default_value(""))                                     //
      ("resume", "continue from the newest checkpoint of --run-dir")                         //
      ("dry-run", "print the plan: operations, parameters, memory, buckets; train nothing")  //
      ("h,help", "this text");
  options.parse_positional({"config"});
  return options;
}

/// Rank 0 speaks when all steps were done before: a resumed run would add nothing, and its summary would tell
/// less. So a chain of jobs may go on resuming.
bool nothing_left(comm::Control& control, const std::string& directory, std::int64_t steps) {
  const bool first = control.rank() == 0;
  const auto done = static_cast<std::int64_t>(
      control.maximum(first ? static_cast<double>(trainer::done_after(directory)) : -1));
  if (done < steps) return false;
  if (first)
    std::printf("the run in %s is done after %lld steps: nothing is left to do\n", directory.c_str(),
                static_cast<long long>(done));
  return true;
}

/// The run directory that rank 0 made and claimed, known to all.
std::string agree_on_directory(comm::Control& control, const Config& config,
                               const cxxopts::ParseResult& words, trainer::RunClaim& claim) {
  std::string directory;
  if (control.rank() == 0) {
    const std::string name = std::filesystem::path(words["config"].as<std::string>()).stem().string();
    directory = trainer::make_run_directory(words["run-dir"].as<std::string>(), name,
                                            words.count("resume") > 0, config.resolved(), &claim);
  }
  return control.broadcast(directory);
}

int dry_run(const comm::World& world, const Config& config) {
  const bool one_node = trainer::on_one_node(world);
  if (world.rank() == 0) std::printf("%s", trainer::describe_plan(config, world.size(), one_node).c_str());
  return 0;
}

int run_train(Context& context) {
  const auto words = parse_words(train_usage(), context);
  if (!words) return 0;
  const Config config = load_config(*words);
  const bool resume = words->count("resume") > 0;
  if (resume && (*words)["run-dir"].as<std::string>().empty())
    throw Error(Fault::config, "--resume does not say which run", "name its directory with --run-dir");
  if (words->count("dry-run") > 0) return dry_run(context.world(), config);
  comm::World& world = context.world();
  const auto run = trainer::prepare_run(config, world);  // a run that is refused leaves no directory
  comm::Control control(comm::make_collectives(world.transport(config.section("run").real("deadline_s")),
                                               comm::schedules().create("recursive_doubling", Options())));
  if (resume && nothing_left(control, (*words)["run-dir"].as<std::string>(), run->steps())) return 0;
  trainer::RunClaim claim;
  const std::string directory = agree_on_directory(control, config, *words, claim);
  log::configure(
      {.rank = world.rank(), .file = directory + "/rank-" + std::to_string(world.rank()) + ".log"});
  const auto log = world.rank() == 0
                       ? trainer::make_run_log(directory, config.section("run").integer("log_every"))
                       : trainer::make_silent_log();
  for (const std::string& note : config.notes()) log->note(note);
  const trainer::SignalWatch signals;
  return run
      ->run(*log, {.run_directory = directory,
                   .resume = resume,
                   .asked_to_stop = [&signals] { return signals.name(); }})
      .exit_code;
}

}  // namespace

const Command kTrain{"train", "train a model, alone or under mpirun / srun", run_train};

}  // namespace lockstep::programs
