// What the compressors of an exchange remember, saved, loaded, and carried to another number of ranks.
#include <string>

#include "comm/compress/compression_entry.h"
#include "core/hash.h"
#include "core/random.h"

namespace lockstep::comm {

/// Equal for equal ranks and groups: only then do owners' chunks mean the same.
std::string Compression::signature() const {
  std::string text = std::to_string(collectives_.size());
  for (const auto& entry : entries_) {
    text += "|" + entry->report.compressor;
    for (const auto& group : entry->groups) {
      text += ";";
      for (const Piece& piece : group->group().pieces) text += piece.slot->name + ",";
    }
  }
  return hash_text(name_hash(text));
}

/// Calls visit(slot) with each exact slot that has momentum, at its place in the entry's array.
template <class Visit>
void Compression::exact_pieces(const Entry& entry, Visit&& visit) {
  if (entry.exact_momentum.settled().count == 0) return;
  std::int64_t at = 0;
  for (const Slot* slot : entry.exact) {
    Slot piece = *slot;
    piece.offset = at;
    visit(piece);
    at += slot->stored_count;
  }
}

void Compression::load_momentum(Entry& entry, const StateReader& reader) {
  const StateReader saved = reader.scope("exact_momentum");
  exact_pieces(entry, [&](const Slot& slot) {
    if (!saved.has(slot.name)) return;
    const std::vector<float> values = saved.floats(slot.name, slot.shape);
    write_slot(slot, entry.exact_momentum.settled(), values);
    write_slot(slot, entry.exact_momentum.current(), values);
  });
}

void Compression::save(StateWriter& writer) const {
  writer.text("groups", signature());
  writer.integer("ranks", collectives_.size());
  for (const auto& entry : entries_) {
    for (const auto& group : entry->groups) group->save(writer);
    StateWriter momentum = writer.scope("exact_momentum");
    exact_pieces(*entry, [&](const Slot& slot) {
      momentum.floats(slot.name, slot.shape, read_slot(slot, entry->exact_momentum.standing()));
    });
  }
}

bool Compression::load(const StateReader& reader) {
  if (!reader.has("groups") || reader.text("groups") != signature()) return false;
  for (const auto& entry : entries_) {
    for (const auto& group : entry->groups) group->load(reader);
    load_momentum(*entry, reader);
  }
  return true;
}

void Compression::carry(const StateReader& reader) {
  if (!reader.has("ranks")) return;
  const float share = 1.0f / static_cast<float>(reader.integer("ranks"));
  for (const auto& entry : entries_) {
    for (const auto& group : entry->groups) group->carry(reader, share);
    load_momentum(*entry, reader);  // the same on every rank
  }
}

}  // namespace lockstep::comm
