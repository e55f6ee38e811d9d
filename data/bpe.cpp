// The encoder: merges by a heap of (rank, position) over a linked list, so a piece of n
// bytes costs n log n; whole pieces are remembered within one call.
#include "data/bpe.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <queue>
#include <tuple>
#include <utility>

#include "core/error.h"
#include "data/bpe_pieces.h"
#include "data/utf8.h"

namespace lockstep::data {
namespace {

Error bad_vocabulary(const std::string& what) {
  return {Fault::data, what, "use the published encoder.json and vocab.bpe, from the same model"};
}

/// GPT-2's spelling: printable Latin-1 bytes stand for themselves, the others for U+0100 upwards.
std::array<std::uint32_t, 256> spelling_of_bytes() {
  std::array<std::uint32_t, 256> spelling{};
  std::uint32_t next = 256;
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    spelling[byte] = printable ? byte : next++;
  }
  return spelling;
}

/// The bytes that a spelled token stands for; false when a character stands for none.
bool unspell(std::string_view token, std::string& bytes) {
  static const auto byte_of = [] {
    std::unordered_map<std::uint32_t, char> map;
    const auto spelling = spelling_of_bytes();
    for (std::size_t byte = 0; byte < 256; ++byte) map[spelling[byte]] = static_cast<char>(byte);
    return map;
  }();
  for (std::size_t at = 0; at < token.size();) {
    const CodePoint point = code_point_at(token, at);
    const auto found = byte_of.find(point.value);
    if (point.bytes == 0 || found == byte_of.end()) return false;
    bytes += found->second;
    at += point.bytes;
  }
  return true;
}

constexpr std::uint64_t pair_key(std::int32_t left, std::int32_t right) noexcept {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
         static_cast<std::uint32_t>(right);
}

}  // namespace

Bpe::Bpe(std::string_view encoder_json, std::string_view merges) {
  std::unordered_map<std::string, std::int32_t> ids;
  read_encoder(encoder_json, ids);
  const auto spelling = spelling_of_bytes();
  for (std::size_t byte = 0; byte < 256; ++byte) {
    std::string spelled;
    append_code_point(spelled, spelling[byte]);
    const auto found = ids.find(spelled);
    if (found == ids.end()) throw bad_vocabulary(fmt::format("the encoder has no token for byte {}", byte));
    id_of_byte_.push_back(found->second);
  }
  read_merges(merges, ids);
}

void Bpe::read_encoder(std::string_view json, std::unordered_map<std::string, std::int32_t>& ids) {
  const auto encoder = nlohmann::json::parse(json, nullptr, false);
  if (!encoder.is_object()) throw bad_vocabulary("the encoder is not a JSON object of tokens and ids");
  bytes_of_.resize(encoder.size());
  std::vector<bool> seen(encoder.size());
  for (const auto& [token, id] : encoder.items()) {
    const auto number = id.is_number_integer() ? id.get<std::int64_t>() : -1;
    if (number < 0 || number >= vocabulary_size() || seen[static_cast<std::size_t>(number)]) {
      throw bad_vocabulary(fmt::format("token '{}' has id {}; ids must be 0 ... {}, each once", token,
                                       id.dump(), vocabulary_size() - 1));
    }
    seen[static_cast<std::size_t>(number)] = true;
    ids[token] = static_cast<std::int32_t>(number);
    std::string& bytes = bytes_of_[static_cast<std::size_t>(number)];
    if (token == "<|endoftext|>") {
      end_of_text_ = static_cast<std::int32_t>(number);
      bytes = token;
    } else if (!unspell(token, bytes)) {
      throw bad_vocabulary(
          fmt::format("token '{}' (id {}) is not spelled as GPT-2 spells bytes", token, number));
    }
  }
}

void Bpe::read_merges(std::string_view text, const std::unordered_map<std::string, std::int32_t>& ids) {
  const auto id_of = [&](std::string token, int line) {
    const auto found = ids.find(token);
    if (found == ids.end()) {
      throw bad_vocabulary(
          fmt::format("line {} of the merges uses '{}', which the encoder lacks", line, token));
    }
    return found->second;
  };
  int line = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view row = text.substr(at, end - at);
    if (row.ends_with('\r')) row.remove_suffix(1);
    at = end + 1;
    if (++line == 1 && row.starts_with("#version")) continue;
    if (row.empty()) continue;
    const std::size_t space = row.find(' ');
    if (space == std::string_view::npos || row.find(' ', space + 1) != std::string_view::npos) {
      throw bad_vocabulary(fmt::format("line {} of the merges is '{}', not two tokens", line, row));
    }
    const std::string left(row.substr(0, space)), right(row.substr(space + 1));
    merges_.try_emplace(pair_key(id_of(left, line), id_of(right, line)),
                        Merge{line, id_of(left + right, line)});
  }
}

const Bpe::Merge* Bpe::find(std::int32_t left, std::int32_t right) const {
  const auto found = merges_.find(pair_key(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

namespace {

/// The tokens of a piece in order; neighbours can be joined in constant time.
class Chain {
 public:
  explicit Chain(std::vector<std::int32_t> ids) : size_(static_cast<int>(ids.size())) {
    for (int i = 0; i < size_; ++i) links_.push_back({ids[static_cast<std::size_t>(i)], i - 1, i + 1});
  }
  [[nodiscard]] int size() const { return size_; }
  [[nodiscard]] bool has_next(int i) const { return i >= 0 && i < size_ && at(i).next < size_; }
  [[nodiscard]] std::int32_t id(int i) const { return at(i).id; }
  [[nodiscard]] int next(int i) const { return at(i).next; }
  [[nodiscard]] int previous(int i) const { return at(i).previous; }
  /// Puts `id` in the place of `i` and its next.
  void join(int i, std::int32_t id) {
    const int gone = at(i).next;
    at(i).id = id;
    at(i).next = at(gone).next;
    if (at(i).next < size_) at(at(i).next).previous = i;
    at(gone).id = -1;
  }
  [[nodiscard]] std::vector<std::int32_t> ids() const {
    std::vector<std::int32_t> all;
    for (int i = 0; i < size_; i = at(i).next) all.push_back(at(i).id);
    return all;
  }

 private:
  struct Link {
    std::int32_t id;
    int previous, next;  // size_: the end; -1: the start
  };
  [[nodiscard]] const Link& at(int i) const { return links_[static_cast<std::size_t>(i)]; }
  [[nodiscard]] Link& at(int i) { return links_[static_cast<std::size_t>(i)]; }
  int size_;
  std::vector<Link> links_;
};

}  // namespace

std::vector<std::int32_t> Bpe::merge(std::string_view piece) const {
  std::vector<std::int32_t> bytes;
  for (const char byte : piece) bytes.push_back(id_of_byte_[static_cast<unsigned char>(byte)]);
  Chain chain(std::move(bytes));
  // (rank, position, left id, right id): an entry is stale when the ids there have changed since.
  using Candidate = std::tuple<std::int32_t, int, std::int32_t, std::int32_t>;
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
  const auto consider = [&](int i) {
    if (!chain.has_next(i)) return;
    const std::int32_t left = chain.id(i), right = chain.id(chain.next(i));
    if (const Merge* found = find(left, right)) candidates.emplace(found->rank, i, left, right);
  };
  for (int i = 0; i < chain.size(); ++i) consider(i);
  while (!candidates.empty()) {
    const auto [rank, i, left, right] = candidates.top();
    candidates.pop();
    if (!chain.has_next(i) || chain.id(i) != left || chain.id(chain.next(i)) != right) continue;
    chain.join(i, find(left, right)->result);
    consider(chain.previous(i));
    consider(i);
  }
  return chain.ids();
}

std::vector<std::int32_t> Bpe::encode(std::string_view text) const {
  std::vector<std::int32_t> tokens;
  std::unordered_map<std::string_view, std::vector<std::int32_t>> known;
  each_piece(text, [&](std::string_view piece) {
    auto [entry, fresh] = known.try_emplace(piece);
    if (fresh) entry->second = merge(piece);
    tokens.insert(tokens.end(), entry->second.begin(), entry->second.end());
  });
  return tokens;
}

std::string Bpe::decode(std::span<const std::int32_t> tokens) const {
  std::string text;
  for (const std::int32_t token : tokens) {
    if (token < 0 || token >= vocabulary_size()) {
      throw Error(Fault::data,
                  fmt::format("token {} is outside the vocabulary of {}", token, vocabulary_size()),
                  "use the tokenizer that the tokens were made with");
    }
    text += bytes_of_[static_cast<std::size_t>(token)];
  }
  return text;
}

}  // namespace lockstep::data
