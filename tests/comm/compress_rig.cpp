#include "tests/comm/compress_rig.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "comm/device_transport.h"
#include "core/hash.h"
#include "core/random.h"
#include "tests/comm/sums.h"

namespace lockstep::comm::compress {

namespace {

constexpr float kRates[] = {1, 1, 0.5f, 0.25f, 2, 0.5f, 0.125f, 1};  // powers of two: products are exact

bool has_key(const CompressorRegistry::Row& row, std::string_view key) {
  return std::any_of(row.settings.begin(), row.settings.end(),
                     [&](const Setting& s) { return s.key == key; });
}

void expect_same_state(const StateMap& a, const StateMap& b, const std::string& what) {
  ASSERT_EQ(a.entries.size(), b.entries.size()) << what;
  for (const auto& [key, entry] : a.entries) {
    const auto found = b.entries.find(key);
    ASSERT_NE(found, b.entries.end()) << what << ": " << key;
    ASSERT_EQ(entry.bytes, found->second.bytes) << what << ": " << key;
  }
}

}  // namespace

std::vector<std::string> names() {
  std::vector<std::string> names;
  for (const auto& row : compressors().rows()) {
    if (row.name != "none" && row.name != "auto") names.emplace_back(row.name);
  }
  return names;
}

bool has_feedback(std::string_view name) { return has_key(compressors().row(name), "feedback"); }

Options settings_of(std::string_view name, bool feedback) {
  const auto& row = compressors().row(name);
  std::vector<std::pair<std::string, std::string>> given;
  if (has_key(row, "feedback")) given.emplace_back("feedback", feedback ? "true" : "false");
  if (has_key(row, "rank")) given.emplace_back("rank", "4");  // small enough for small slots to be factored
  return Options::of(row.settings, given);
}

SlotLayout rig_layout() {
  return SlotLayout({{"head.weight", {32, 40}},
                     {"head.bias", {32}},
                     {"deep.weight", {48, 4, 3, 3}},
                     {"prime.weight", {3, 607}},
                     {"small.weight", {4, 4}}});
}

std::shared_ptr<Collectives> rig_collectives(World& world, Device device, const std::string& transport,
                                             const std::string& schedule) {
  const std::shared_ptr<const Schedule> sums = schedule_named(schedule);
  const Options settings = Options::of(transports().row(transport).settings);
  return make_collectives(connect(transport, settings, *sums, world, {device, 60}), sums);
}

Rig::Rig(World& world, const std::string& name, const RigOptions& rig)
    : rank_(world.rank()),
      ranks_(world.size()),
      layout_(rig_layout()),
      gradients_(make_array(rig.place.device, Dtype::f32, layout_.stored_count())),
      skip_(make_array(rig.place.device, Dtype::i32, 1)),
      collectives_(rig.place.collectives ? rig.place.collectives : rig_collectives(world, rig.place.device)),
      control_(std::make_unique<Control>(make_collectives(world.transport(60), schedule_named("ring")))),
      compute_(make_stream(rig.place.device)) {
  ExchangeOptions options{.bucket_bytes = 8192, .first_bucket_bytes = 1024, .device = rig.place.device};
  options.compression.name = name;
  options.compression.rules = rig.rules;
  options.compression.seed = 3;
  options.compression.momentum_kind = rig.place.momentum_kind;
  options.compression.momentum = 0.5f;
  options.compression.exact_steps = rig.place.exact_steps;
  options.compression.sample_every = rig.sample_every;
  options.compression.settings = [feedback = rig.feedback](std::string_view row) {
    return settings_of(row, feedback);
  };
  exchange_ = make_exchange(layout_, *collectives_, options);
}

std::vector<float> Rig::gradient(int rank, std::int64_t step) const {
  std::vector<float> values(static_cast<std::size_t>(gradients_.span.count));
  const RandomSource source(1, "compress rig",
                            static_cast<std::uint64_t>(step) * 64 + static_cast<std::uint64_t>(rank));
  for (const Slot& slot : layout_.slots()) {
    for (std::int64_t i = slot.offset; i < slot.offset + slot.stored_count; ++i)
      values[static_cast<std::size_t>(i)] =
          static_cast<float>(source.below(static_cast<std::uint64_t>(i), 8191)) - 4095.0f;
  }
  return values;
}

void Rig::step(std::int64_t step, float rate, bool poison) {
  auto values = gradient(rank_, step);
  if (poison) values[1500] = std::numeric_limits<float>::quiet_NaN();
  copy_from_host(values.data(), gradients_.span);
  const std::int64_t sent_before = collectives_->traffic().bytes;
  exchange_->begin(gradients_.span, {.step = step, .rate = rate, .scale = 1.0f / static_cast<float>(ranks_)});
  exchange_->complete(static_cast<int>(layout_.slots().size()), compute_->record());
  exchange_->finish(*compute_);
  compute_->synchronize();
  // As the trainer does: all ranks agree whether the step counts.
  std::int64_t bad = 0;
  if (exchange_->nonfinite().count > 0) copy_to_host(exchange_->nonfinite(), &bad);
  const std::int32_t skip = control_->maximum(bad != 0 ? 1 : 0) > 0 ? 1 : 0;
  copy_from_host(&skip, skip_.span);
  exchange_->settle(static_cast<const std::int32_t*>(skip_.span.data), *compute_);
  compute_->synchronize();
  sent_bytes_ = collectives_->traffic().bytes - sent_before;
  sums_.resize(values.size());
  copy_to_host(gradients_.span, sums_.data());
}

StateMap Rig::state() const {
  StateMap map;
  StateWriter writer(map);
  exchange_->save(writer);
  return map;
}

std::vector<double> debt_of(const StateMap& map, const SlotLayout& layout, double share) {
  std::vector<double> debt(static_cast<std::size_t>(layout.stored_count()));
  const StateReader reader(map);
  for (const Slot& slot : layout.slots()) {
    const auto add = [&](std::string_view scope, double factor) {
      const StateReader values = reader.scope(scope);
      if (!values.has(slot.name)) return;
      const std::vector<float> kept = values.floats(slot.name, slot.shape);
      for (std::size_t i = 0; i < kept.size(); ++i)
        debt[static_cast<std::size_t>(slot.offset) + i] += factor * static_cast<double>(kept[i]);
    };
    add("residual", share);
    add("owner", 1);
  }
  return debt;
}

std::vector<double> Rig::debt() {
  std::vector<double> debt = debt_of(state(), layout_, 1.0 / ranks_);
  control_->sum(debt);
  return debt;
}

void virtual_iterate(World& world, const std::string& name, bool exact, const Place& place) {
  Rig rig(world, name, {.place = place});
  const auto count = static_cast<std::size_t>(rig.layout().stored_count());
  std::vector<double> x(count);
  std::vector<double> descent(count);
  std::int64_t step = 0;
  for (float rate : kRates) {
    rig.step(step, rate);
    const double unit = static_cast<double>(rate) / world.size();
    for (int rank = 0; rank < world.size(); ++rank) {
      const auto gradient = rig.gradient(rank, step);
      for (std::size_t i = 0; i < count; ++i) descent[i] += unit * static_cast<double>(gradient[i]);
    }
    const float factor = rate * (1.0f / static_cast<float>(world.size()));
    for (std::size_t i = 0; i < count; ++i)
      x[i] -= static_cast<double>(factor) * static_cast<double>(rig.sums()[i]);
    ++step;
  }
  const std::vector<double> debt = rig.debt();
  double worst = 0;
  for (std::size_t i = 0; i < count; ++i) worst = std::max(worst, std::abs(x[i] - debt[i] + descent[i]));
  if (exact) {
    EXPECT_EQ(worst, 0) << name << " at " << world.size() << " ranks";
  } else {
    EXPECT_LT(worst, 0.05) << name << " at " << world.size() << " ranks";
  }
  double kept = 0;
  for (double each : debt) kept = std::max(kept, std::abs(each));
  EXPECT_GT(kept, 0) << name << " lost nothing: the law was not put to the test";
}

void same_bits_and_stated_bytes(World& world, const std::string& name, bool feedback, const Place& place) {
  Rig rig(world, name, {.feedback = feedback, .place = place});
  for (std::int64_t step = 0; step < 3; ++step) {
    rig.step(step, 0.5f);
    const auto hash = static_cast<std::int64_t>(hash_floats(rig.sums()));
    for (std::int64_t other : rig.control().gather(hash)) EXPECT_EQ(other, hash) << name;
    // A GPU's report counts while messages are enqueued; those that go through the host are sent later.
    if (place.device.kind == DeviceKind::cpu) {
      EXPECT_EQ(rig.report().wire_bytes, rig.sent_bytes()) << name;
    }
    EXPECT_EQ(rig.sent_bytes(), rig.exchange().stated_bytes(*schedule_named(place.schedule), step)) << name;
  }
}

void rate_zero_is_silent(World& world, const std::string& name, const Place& place) {
  Rig rig(world, name, {.place = place});
  rig.step(0, 1);
  const StateMap before = rig.state();
  rig.step(1, 0);
  expect_same_state(before, rig.state(), name);
  // What is left are the two exact slots of 48 elements.
  EXPECT_LE(rig.sent_bytes(), 2 * 48 * 4) << name;
  const Slot* slot = rig.layout().find("deep.weight");
  for (float x : rig.sums().subspan(static_cast<std::size_t>(slot->offset), 100)) EXPECT_EQ(x, 0);
}

void nonfinite_leaves_no_trace(World& world, const std::string& name, const Place& place) {
  Rig good(world, name, {.place = place});
  Rig bad(world, name, {.place = place});
  good.step(0, 1);
  bad.step(0, 1);
  bad.step(1, 1, world.rank() == world.size() - 1);
  expect_same_state(good.state(), bad.state(), name + " after a bad step");
  bad.step(1, 1, world.rank() == 0);
  good.step(2, 0.5f);
  bad.step(2, 0.5f);
  EXPECT_EQ(std::memcmp(good.sums().data(), bad.sums().data(), good.sums().size_bytes()), 0) << name;
  expect_same_state(good.state(), bad.state(), name + " after going on");
  for (float x : bad.sums()) EXPECT_TRUE(std::isfinite(x));
}

void resumes_exactly(World& world, const std::string& name, bool feedback, const Place& place) {
  Rig whole(world, name, {.feedback = feedback, .place = place});
  for (std::int64_t step = 0; step < 2; ++step) whole.step(step, 1);
  const StateMap saved = whole.state();
  Rig resumed(world, name, {.feedback = feedback, .place = place});
  ASSERT_TRUE(resumed.exchange().load(StateReader(saved))) << name;
  expect_same_state(saved, resumed.state(), name + " after loading");
  for (std::int64_t step = 2; step < 4; ++step) {
    whole.step(step, 0.5f);
    resumed.step(step, 0.5f);
    EXPECT_EQ(std::memcmp(whole.sums().data(), resumed.sums().data(), whole.sums().size_bytes()), 0) << name;
  }
  expect_same_state(whole.state(), resumed.state(), name);
}

}  // namespace lockstep::comm::compress
