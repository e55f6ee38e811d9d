// The three tokenizers behind one interface, and their stored text: a JSON object with "kind" and what that
// kind needs.
#include "data/tokenizer.h"

#include <spdlog/fmt/fmt.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <sstream>
#include <unordered_map>

#include "core/error.h"
#include "data/bpe.h"
#include "data/utf8.h"

namespace lockstep::data {
namespace {

using nlohmann::json;

void check_id(std::int32_t token, std::int64_t size) {
  if (token >= 0 && token < size) return;
  throw Error(Fault::data, fmt::format("token {} is outside the vocabulary of {}", token, size),
              "use the tokenizer that the tokens were made with");
}

class Bytes final : public Tokenizer {
 public:
  [[nodiscard]] std::string_view kind() const noexcept override { return "bytes"; }
  [[nodiscard]] std::int64_t vocabulary_size() const noexcept override { return 256; }
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text) const override {
    std::vector<std::int32_t> tokens;
    tokens.reserve(text.size());
    for (const char byte : text) tokens.push_back(static_cast<unsigned char>(byte));
    return tokens;
  }
  [[nodiscard]] std::string decode(std::span<const std::int32_t> tokens) const override {
    std::string text;
    for (const std::int32_t token : tokens) {
      check_id(token, 256);
      text += static_cast<char>(token);
    }
    return text;
  }
  [[nodiscard]] std::string to_text() const override { return json{{"kind", "bytes"}}.dump(); }
};

/// Calls visit(code point, position) for each character. Throws when the text is not UTF-8.
template <class Visit>
void each_character(std::string_view text, const Visit& visit) {
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    if (point.bytes == 0) {
      throw Error(Fault::data, fmt::format("the text is not UTF-8 at byte {}", at),
                  "convert it with iconv, or use the tokenizer 'bytes'");
    }
    visit(point.value, at);
    at += point.bytes;
  }
}

class Characters final : public Tokenizer {
 public:
  explicit Characters(const std::vector<std::uint32_t>& characters) : characters_(characters) {
    for (std::size_t id = 0; id < characters.size(); ++id) {
      ids_[characters[id]] = static_cast<std::int32_t>(id);
    }
  }
  [[nodiscard]] std::string_view kind() const noexcept override { return "characters"; }
  [[nodiscard]] std::int64_t vocabulary_size() const noexcept override {
    return static_cast<std::int64_t>(characters_.size());
  }
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text) const override {
    std::vector<std::int32_t> tokens;
    each_character(text, [&](std::uint32_t character, std::size_t at) {
      const auto found = ids_.find(character);
      if (found == ids_.end()) {
        throw Error(
            Fault::data,
            fmt::format("character U+{:04X} at byte {} is not in the vocabulary of {} characters", character,
                        at, characters_.size()),
            "the vocabulary holds the characters of the text it was made from; leave the character out");
      }
      tokens.push_back(found->second);
    });
    return tokens;
  }
  [[nodiscard]] std::string decode(std::span<const std::int32_t> tokens) const override {
    std::string text;
    for (const std::int32_t token : tokens) {
      check_id(token, vocabulary_size());
      append_code_point(text, characters_[static_cast<std::size_t>(token)]);
    }
    return text;
  }
  [[nodiscard]] std::string to_text() const override {
    std::vector<std::int32_t> all(characters_.size());
    std::iota(all.begin(), all.end(), 0);
    return json{{"kind", "characters"}, {"characters", decode(all)}}.dump();
  }

 private:
  std::vector<std::uint32_t> characters_;
  std::unordered_map<std::uint32_t, std::int32_t> ids_;
};

class Gpt2 final : public Tokenizer {
 public:
  Gpt2(std::string encoder_json, std::string merges)
      : encoder_json_(std::move(encoder_json)), merges_(std::move(merges)), bpe_(encoder_json_, merges_) {}
  [[nodiscard]] std::string_view kind() const noexcept override { return "gpt2"; }
  [[nodiscard]] std::int64_t vocabulary_size() const noexcept override { return bpe_.vocabulary_size(); }
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text) const override {
    return bpe_.encode(text);
  }
  [[nodiscard]] std::string decode(std::span<const std::int32_t> tokens) const override {
    return bpe_.decode(tokens);
  }
  [[nodiscard]] std::string to_text() const override {
    return json{{"kind", "gpt2"}, {"encoder", json::parse(encoder_json_)}, {"merges", merges_}}.dump();
  }

 private:
  std::string encoder_json_, merges_;
  Bpe bpe_;
};

std::string file_contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) {
    throw Error(Fault::data, fmt::format("cannot read '{}'", path),
                "check the path and that the file is not empty");
  }
  return text.str();
}

}  // namespace

std::unique_ptr<Tokenizer> byte_tokenizer() { return std::make_unique<Bytes>(); }

std::unique_ptr<Tokenizer> character_tokenizer(std::string_view corpus) {
  if (corpus.empty())
    throw Error(Fault::data, "the text is empty", "give a text with at least one character");
  std::set<std::uint32_t> characters;
  each_character(corpus, [&](std::uint32_t character, std::size_t) { characters.insert(character); });
  return std::make_unique<Characters>(std::vector<std::uint32_t>(characters.begin(), characters.end()));
}

std::unique_ptr<Tokenizer> gpt2_tokenizer(const std::string& encoder_json, const std::string& vocab_bpe) {
  std::string encoder = file_contents(encoder_json), merges = file_contents(vocab_bpe);
  try {
    return std::make_unique<Gpt2>(std::move(encoder), std::move(merges));
  } catch (const Error& error) {
    throw Error(error.fault(), fmt::format("'{}' with '{}': {}", encoder_json, vocab_bpe, error.what()),
                error.hint());
  }
}

std::unique_ptr<Tokenizer> tokenizer_from_text(std::string_view text) {
  const json stored = json::parse(text, nullptr, false);
  const auto has = [&](const char* key, json::value_t type) {
    return stored.contains(key) && stored[key].type() == type;  // only objects contain keys
  };
  const auto kind = has("kind", json::value_t::string) ? stored["kind"].get<std::string>() : std::string();
  if (kind == "bytes") return byte_tokenizer();
  if (kind == "characters" && has("characters", json::value_t::string)) {
    return character_tokenizer(stored["characters"].get<std::string>());
  }
  if (kind == "gpt2" && has("encoder", json::value_t::object) && has("merges", json::value_t::string)) {
    return std::make_unique<Gpt2>(stored["encoder"].dump(), stored["merges"].get<std::string>());
  }
  throw Error(Fault::data,
              fmt::format("the stored tokenizer is not known (it starts '{}')", text.substr(0, 40)),
              "import the text again with this version of lockstep");
}

}  // namespace lockstep::data
