// Imports text as one long sequence of tokens per split.
#include <algorithm>
#include <array>
#include <cmath>

#include <spdlog/fmt/fmt.h>

#include "core/error.h"
#include "data/bytes_file.h"
#include "data/hdf5_file.h"
#include "data/tokenizer.h"
#include "data/tools.h"

namespace lockstep::data {
namespace {

constexpr Setting kOwnSettings[] = {
    {"input", SettingType::texts, nullptr, "UTF-8 text files or globs, joined in order"},
    {"validation", SettingType::texts, "[]", "text files to validate on; empty: the end of the input"},
    {"validation_fraction", SettingType::real, "0.1", "part of the input's end kept back when there are none",
     "[0,1)"},
    {"tokenizer", SettingType::text, "characters", "what a token is", "bytes|characters|gpt2"},
    {"encoder", SettingType::text, "", "gpt2: its encoder.json"},
    {"vocabulary", SettingType::text, "", "gpt2: its vocab.bpe"},
};
constexpr auto kSettings = with_output(kOwnSettings);

std::string joined(const std::vector<std::string>& patterns) {
  std::string text;
  if (patterns.empty()) return text;
  for (const auto& path : expand_globs(patterns)) text += read_text(path);
  return text;
}

/// Byte position that leaves about `fraction` of the text behind it, between two UTF-8 characters.
std::size_t split_position(const std::string& text, double fraction) {
  auto at = static_cast<std::size_t>(std::floor(static_cast<double>(text.size()) * (1 - fraction)));
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0U) == 0x80U) ++at;
  return at;
}

std::unique_ptr<Tokenizer> make_tokenizer(const Options& settings, const std::string& corpus) {
  const std::string kind = settings.text("tokenizer");
  if (kind == "bytes") return byte_tokenizer();
  if (kind == "characters") return character_tokenizer(corpus);
  if (settings.text("encoder").empty() || settings.text("vocabulary").empty()) {
    throw Error(Fault::config, "tokenizer gpt2 needs its two files",
                "set encoder to encoder.json and vocabulary to vocab.bpe of GPT-2");
  }
  return gpt2_tokenizer(settings.text("encoder"), settings.text("vocabulary"));
}

void write_tokens(SetWriter& writer, const std::string& split, const std::vector<std::int32_t>& tokens,
                  std::int64_t vocabulary) {
  const bool narrow = vocabulary <= 65536;
  writer.begin_split(split, {{"tokens", narrow ? Dtype::u16 : Dtype::i32, Shape{}}});
  const std::vector<std::uint16_t> halves(narrow ? tokens.begin() : tokens.end(), tokens.end());
  const std::array<const std::byte*, 1> block{narrow ? bytes_of(halves) : bytes_of(tokens)};
  writer.append(static_cast<std::int64_t>(tokens.size()), block);
}

Written import_text(const Options& settings) {
  std::string train = joined(settings.texts("input"));
  std::string validation = joined(settings.texts("validation"));
  if (validation.empty() && !settings.texts("validation").empty()) {
    throw Error(Fault::data, "the text to validate on is empty",
                "name another file as validation, or none to keep back the end of the input");
  }
  const auto tokenizer = make_tokenizer(settings, train + validation);
  if (validation.empty()) {
    const std::size_t at = split_position(train, settings.real("validation_fraction"));
    validation = train.substr(at);
    train.resize(at);
  }
  SetWriter writer(settings);
  write_tokens(writer, "train", tokenizer->encode(train), tokenizer->vocabulary_size());
  if (!validation.empty()) {
    write_tokens(writer, "validation", tokenizer->encode(validation), tokenizer->vocabulary_size());
  }
  writer.fact("classes", tokenizer->vocabulary_size());
  writer.fact("tokenizer", tokenizer->to_text());
  return writer.finish();
}

}  // namespace

const DataTool kTextImporter{"text", "text as bytes, characters or GPT-2's byte pairs", kSettings,
                             import_text};

}  // namespace lockstep::data
