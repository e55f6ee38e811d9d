#include "trainer/resume.h"

#include "core/hash.h"
#include "trainer/schema.h"
#include "trainer/state_file.h"

namespace lockstep::trainer {

namespace {

/// Ranks that share an optimizer save its state in their own files, every slot in one of them.
void join_optimizer_parts(Checkpoint& checkpoint) {
  constexpr auto kScope = "optimizer";
  if (StateReader(checkpoint.shared).scope(kScope).any()) return;
  for (const std::string& file : checkpoint.rank_files) {
    StateMap state = read_state_file(file);
    for (auto& [key, entry] : state.entries) {
      if (key.starts_with(std::string(kScope) + "/"))
        checkpoint.shared.entries.emplace(key, std::move(entry));
    }
  }
}

/// ": train.steps 15, now 30", by the config.yaml of the run's last start; empty when that tells nothing.
std::string changes_text(const Config& config, const std::string& run_directory) {
  std::string text;
  try {
    const Config before = Config::load(run_directory + "/config.yaml", {}, config_schema());
    for (const std::string& change : config.changes_since(before))
      text += (text.empty() ? ": " : "; ") + change;
  } catch (const Error&) {  // of another version, or gone: the note without keys has to do
  }
  return text;
}

}  // namespace

std::optional<Checkpoint> find_checkpoint(const Config& config, const std::string& run_directory,
                                          comm::Control& control, RunLog& log) {
  std::vector<std::string> notes;
  std::optional<Checkpoint> found = load_latest_checkpoint(run_directory, control, notes);
  for (const std::string& note : notes) log.note(note);
  if (!found) {
    log.note("no checkpoint to resume from: starting at step 0");
    return found;
  }
  if (found->fingerprint != hash_text(config.fingerprint())) {
    log.note(
        "the configuration differs from the one that wrote the checkpoint: the run goes on under the new "
        "one" +
        changes_text(config, run_directory));
  }
  join_optimizer_parts(*found);
  return found;
}

std::string load_residuals(const Checkpoint& checkpoint, comm::GradientExchange& exchange,
                           comm::Control& control) {
  constexpr auto kScope = "compression";
  const bool fits = exchange.load(StateReader(checkpoint.mine).scope(kScope));
  if (control.maximum(fits ? 0 : 1) == 0) return "";
  bool any = false;
  for (const std::string& file : checkpoint.rank_files) {
    const StateMap state = read_state_file(file);
    any = any || StateReader(state).scope(kScope).any();
    exchange.carry(StateReader(state).scope(kScope));
  }
  if (!any) return "the checkpoint holds no residuals of compression: they start at zero";
  return "residuals of compression were carried over from " + std::to_string(checkpoint.rank_files.size()) +
         " rank(s): every rank starts from their mean";
}

}  // namespace lockstep::trainer
