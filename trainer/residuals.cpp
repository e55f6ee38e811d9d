#include "trainer/residuals.h"

#include "trainer/state_file.h"

namespace lockstep::trainer {

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
