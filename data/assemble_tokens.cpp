// Windows of a token set: the input is `context` tokens, the target the same shifted by one.
#include <algorithm>

#include <spdlog/fmt/fmt.h>

#include "core/error.h"
#include "core/random.h"
#include "data/assemble.h"

namespace lockstep::data {
namespace {

/// Training deals the windows that fit; evaluation covers every token once: its last window ends at the last
/// token, and the targets that the window before already counted are kIgnoredTarget.
class TokenWindows final : public Assembler {
 public:
  TokenWindows(const Dataset& dataset, const Options& settings, const AssemblerOptions& options)
      : dataset_(dataset),
        tensor_(tensor_index(dataset, "tokens")),
        dtype_(dataset.sample()[static_cast<std::size_t>(tensor_)].dtype),
        context_(settings.integer("context")),
        options_(options),
        random_offsets_(options.train && settings.text("windows") == "random") {
    classes_ = classes_of(dataset, settings);
    if (dataset.size() < context_ + 1) {
      throw Error(Fault::config,
                  fmt::format("'{}' has {} tokens, too few for a window of {} and the next",
                              dataset.files().front().path, dataset.size(), context_),
                  "set data.context to less");
    }
    if (classes_ < 1) {
      throw Error(Fault::config,
                  fmt::format("'{}' does not state its vocabulary size", dataset.files().front().path),
                  "set data.classes to the number of tokens in the vocabulary");
    }
  }

  [[nodiscard]] LoaderSpec spec() const override {
    const std::int64_t targets = dataset_.size() - 1;
    LoaderSpec spec;
    spec.input = spec.target = Shape{context_};
    spec.input_dtype = spec.target_dtype = Dtype::i32;
    spec.classes = classes_;
    spec.samples = options_.train ? targets / context_ : (targets + context_ - 1) / context_;
    return spec;
  }

  void assemble(const Pick& pick, std::byte* input, std::byte* target, Scratch& scratch) const override {
    auto* inputs = reinterpret_cast<std::int32_t*>(input);
    auto* targets = reinterpret_cast<std::int32_t*>(target);
    for (std::size_t row = 0; row < pick.samples.size(); ++row) {
      const std::int64_t wanted = wanted_start(pick, row);
      const std::int64_t start = std::min(wanted, dataset_.size() - 1 - context_);
      read_window(start, scratch, inputs, targets);
      std::fill_n(targets, wanted - start, kIgnoredTarget);
      inputs += context_;
      targets += context_;
    }
  }

 private:
  [[nodiscard]] std::int64_t wanted_start(const Pick& pick, std::size_t row) const {
    if (!random_offsets_) return pick.samples[row] * context_;
    const auto position = static_cast<std::uint64_t>(pick.first_position) + row;
    const RandomSource random(options_.seed, "window offset", position);
    return static_cast<std::int64_t>(random.below(0, static_cast<std::uint64_t>(dataset_.size() - context_)));
  }

  void read_window(std::int64_t start, Scratch& scratch, std::int32_t* inputs, std::int32_t* targets) const {
    const auto length = static_cast<std::size_t>(context_) + 1;
    scratch.indices.resize(length);
    for (std::size_t i = 0; i < length; ++i) scratch.indices[i] = start + static_cast<std::int64_t>(i);
    read_tensor(dataset_, tensor_, scratch.indices, scratch.input);
    for (std::size_t i = 0; i < length; ++i) {
      const auto token = element_as<std::int64_t>(scratch.input.data(), dtype_, i);
      if (token < 0 || token >= classes_) throw bad_token(start + static_cast<std::int64_t>(i), token);
      if (i + 1 < length) inputs[i] = static_cast<std::int32_t>(token);
      if (i > 0) targets[i - 1] = static_cast<std::int32_t>(token);
    }
  }

  [[nodiscard]] Error bad_token(std::int64_t index, std::int64_t token) const {
    return {
        Fault::data,
        fmt::format("{}: token {} is outside the vocabulary of {}", dataset_.where(index), token, classes_),
        "import the text again with its tokenizer, or set data.classes"};
  }

  const Dataset& dataset_;
  int tensor_;
  Dtype dtype_;
  std::int64_t context_;
  AssemblerOptions options_;
  bool random_offsets_;
  std::int64_t classes_ = 0;
};

}  // namespace

std::unique_ptr<Assembler> assemble_tokens(const Dataset& dataset, const Options& settings,
                                           const AssemblerOptions& options) {
  return std::make_unique<TokenWindows>(dataset, settings, options);
}

}  // namespace lockstep::data
