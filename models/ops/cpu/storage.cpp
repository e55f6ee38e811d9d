#include "models/ops/cpu/storage.h"

#include <algorithm>

namespace lockstep::models::cpu {
namespace {

class Placed final : public StorageOrder {
 public:
  Placed(std::vector<std::int32_t> places, std::int64_t stored, std::string name)
      : places_(std::move(places)), stored_(stored), name_(std::move(name)) {}

  [[nodiscard]] std::int64_t stored_count() const noexcept override { return stored_; }
  void to_storage(std::span<const float> canonical, std::span<float> stored) const override {
    std::fill(stored.begin(), stored.end(), 0.0F);
    for (std::size_t i = 0; i < places_.size(); ++i)
      stored[static_cast<std::size_t>(places_[i])] = canonical[i];
  }
  void to_canonical(std::span<const float> stored, std::span<float> canonical) const override {
    for (std::size_t i = 0; i < places_.size(); ++i)
      canonical[i] = stored[static_cast<std::size_t>(places_[i])];
  }
  [[nodiscard]] std::string name() const override { return name_; }

 private:
  std::vector<std::int32_t> places_;
  std::int64_t stored_;
  std::string name_;
};

}  // namespace

StorageOrderPtr placed_order(std::vector<std::int32_t> places, std::int64_t stored_count, std::string name) {
  return std::make_shared<Placed>(std::move(places), stored_count, std::move(name));
}

}  // namespace lockstep::models::cpu
