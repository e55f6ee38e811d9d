// The one error type of the project. Libraries throw it; only `main` prints it and picks the exit code.
#pragma once

#include <exception>
#include <string>
#include <utility>
#include <vector>

namespace lockstep {

/// What went wrong, as the exit code that the program ends with.
enum class Fault {
  config = 2,         ///< a key, value or combination of settings
  data = 3,           ///< a data set or sample
  communication = 4,  ///< a peer, a link or a deadline
  device = 5,         ///< a missing, wrong or full device
  checkpoint = 6,     ///< a checkpoint or weight file
  diverged = 7,       ///< non-finite numbers after the policy was applied
  internal = 70,      ///< a broken invariant: our own mistake
};

/// An error that tells its cure. `what()` is one sentence without a full stop that names the offending thing
/// and the values; `hint()` is what the reader can do about it (may be empty).
class Error : public std::exception {
 public:
  Error(Fault fault, std::string what, std::string hint = {})
      : fault_(fault), what_(std::move(what)), hint_(std::move(hint)) {}

  [[nodiscard]] Fault fault() const noexcept { return fault_; }
  [[nodiscard]] int exit_code() const noexcept { return static_cast<int>(fault_); }
  [[nodiscard]] const char* what() const noexcept override { return what_.c_str(); }
  [[nodiscard]] const std::string& hint() const noexcept { return hint_; }

 private:
  Fault fault_;
  std::string what_;
  std::string hint_;
};

/// The word for a fault in messages: "config", "data", ...
[[nodiscard]] const char* fault_name(Fault fault) noexcept;

/// The candidate with the smallest edit distance to `word`, or empty when none is near enough to be meant.
[[nodiscard]] std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

/// A hint with the nearest name first: "did you mean 'sgd'? known: sgd, adamw".
[[nodiscard]] std::string did_you_mean(const std::string& word, const std::vector<std::string>& known);

}  // namespace lockstep
