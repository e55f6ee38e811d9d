// What a model predicts for every sample of an evaluated split, as an HDF5 file: `prediction` (for classes
// the scores before softmax), `loss` and `target`, one row a sample in the split's order.
#pragma once

#include <memory>
#include <string>

#include "comm/collectives.h"
#include "models/graph.h"
#include "trainer/evaluate.h"

namespace lockstep::trainer {

/// Rank 0 writes, the other ranks send it their microbatches as they come, so nobody holds more than a few.
/// The file appears under its name when it is whole.
class PredictionFile {
 public:
  /// Collective. `samples` of the split are evaluated in microbatches, shared out as evaluation_share() says.
  /// Throws Fault::data when the file cannot be made.
  PredictionFile(const std::string& path, const models::Graph& graph, std::int64_t samples,
                 std::int64_t microbatch, std::unique_ptr<comm::Collectives> collectives);
  PredictionFile(const PredictionFile&) = delete;
  PredictionFile& operator=(const PredictionFile&) = delete;
  /// Removes what was written unless finish() ran.
  ~PredictionFile();

  /// This rank's next microbatch. Blocks until rank 0 has it.
  void add(const Evaluated& batch);
  /// Collective. Writes everything out.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lockstep::trainer
