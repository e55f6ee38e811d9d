// A kind of part: its names, what each is, its settings, and how to make one. An explicit constexpr table per
// kind, in that kind's registry.cpp: greppable, ordered, and it survives static linking. Conformance tests
// and --help iterate over it.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/options.h"

namespace lockstep {

template <class Interface, class... Args>
class Registry {
 public:
  using Make = std::unique_ptr<Interface> (*)(const Options&, Args...);
  struct Row {
    std::string_view name;
    std::string_view summary;
    std::span<const Setting> settings;
    Make make;  ///< null: known, but not in this build
  };

  constexpr Registry(std::string_view kind, std::span<const Row> rows) : kind_(kind), rows_(rows) {}

  [[nodiscard]] std::string_view kind() const noexcept { return kind_; }
  [[nodiscard]] std::span<const Row> rows() const noexcept { return rows_; }

  /// The row called `name`. Throws Fault::config listing the known names, nearest first.
  [[nodiscard]] const Row& row(std::string_view name) const {
    std::vector<std::string> names;
    for (const Row& candidate : rows_) {
      if (candidate.name == name) return candidate;
      names.emplace_back(candidate.name);
    }
    throw unknown_name(kind_, name, names);
  }
  /// Makes the part. Throws as row(), and Fault::config when this build lacks it.
  [[nodiscard]] std::unique_ptr<Interface> create(std::string_view name, const Options& options,
                                                  Args... args) const {
    const Row& found = row(name);
    if (found.make == nullptr) throw not_built(kind_, name);
    return found.make(options, args...);
  }
  /// Names and settings for the config schema.
  [[nodiscard]] KindSchema schema(std::string_view fallback) const {
    KindSchema kind{std::string(kind_), std::string(fallback), {}};
    for (const Row& each : rows_) kind.rows.push_back({each.name, each.summary, each.settings});
    return kind;
  }

 private:
  std::string_view kind_;
  std::span<const Row> rows_;
};

}  // namespace lockstep
