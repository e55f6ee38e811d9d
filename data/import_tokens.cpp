// Imports raw little-endian token files, as language-model projects leave them (nanoGPT's train.bin).
#include <array>
#include <cstring>

#include <spdlog/fmt/fmt.h>

#include "core/error.h"
#include "data/bytes_file.h"
#include "data/hdf5_file.h"
#include "data/tokenizer.h"
#include "data/tools.h"

namespace lockstep::data {
namespace {

constexpr Setting kOwnSettings[] = {
    {"train", SettingType::texts, nullptr, "token files or globs, joined in order"},
    {"validation", SettingType::texts, "[]", "token files to validate on"},
    {"dtype", SettingType::text, "u16", "type of the tokens in the files", "u16|i32"},
    {"classes", SettingType::integer, "50257", "size of the vocabulary", "[1,inf)"},
    {"encoder", SettingType::text, "", "encoder.json of GPT-2, to keep the tokenizer with the tokens"},
    {"vocabulary", SettingType::text, "", "vocab.bpe of GPT-2"},
};
constexpr auto kSettings = with_output(kOwnSettings);

/// Throws Fault::data at the first token outside the vocabulary.
template <class T>
void check_tokens(const std::string& path, const std::vector<std::byte>& bytes, std::int64_t classes) {
  if (bytes.size() % sizeof(T) != 0) {
    throw Error(Fault::data,
                fmt::format("'{}' holds {} bytes, not a whole number of {}-byte tokens", path, bytes.size(),
                            sizeof(T)),
                "it is truncated, or its tokens are of another dtype");
  }
  for (std::size_t i = 0; i < bytes.size() / sizeof(T); ++i) {
    T token{};
    std::memcpy(&token, bytes.data() + i * sizeof(T), sizeof(T));
    if (static_cast<std::int64_t>(token) >= 0 && static_cast<std::int64_t>(token) < classes) continue;
    throw Error(Fault::data,
                fmt::format("'{}': token {} is {}, outside the vocabulary of {}", path, i, token, classes),
                "set classes to the size of the vocabulary; check dtype; the file may have a header");
  }
}

void write_split(SetWriter& writer, const std::string& split, const Options& settings) {
  const Dtype dtype = dtype_named(settings.text("dtype"));
  const std::int64_t classes = settings.integer("classes");
  writer.begin_split(split, {{"tokens", dtype, Shape{}}});
  for (const auto& path : expand_globs(settings.texts(split))) {
    const auto bytes = read_bytes(path);
    if (dtype == Dtype::u16) {
      check_tokens<std::uint16_t>(path, bytes, classes);
    } else {
      check_tokens<std::int32_t>(path, bytes, classes);
    }
    const std::array<const std::byte*, 1> block{bytes.data()};
    writer.append(static_cast<std::int64_t>(bytes.size() / size_of(dtype)), block);
  }
}

Written import_tokens(const Options& settings) {
  SetWriter writer(settings);
  write_split(writer, "train", settings);
  if (!settings.texts("validation").empty()) write_split(writer, "validation", settings);
  writer.fact("classes", settings.integer("classes"));
  if (settings.text("encoder").empty() != settings.text("vocabulary").empty()) {
    throw Error(Fault::config, "a tokenizer of GPT-2 needs both of its files",
                "set encoder to encoder.json and vocabulary to vocab.bpe, or neither");
  }
  if (!settings.text("encoder").empty()) {
    writer.fact("tokenizer",
                gpt2_tokenizer(settings.text("encoder"), settings.text("vocabulary"))->to_text());
  }
  return writer.finish();
}

}  // namespace

const DataTool kTokensImporter{"tokens", "raw files of token numbers", kSettings, import_tokens};

}  // namespace lockstep::data
