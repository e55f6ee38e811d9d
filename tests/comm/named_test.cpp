// Parts named on a command line: "name:key=value,key=value", alone or in a list whose commas also separate
// settings.
#include "comm/named.h"

#include <gtest/gtest.h>

#include "comm/allreduce/schedule.h"
#include "comm/compress/compressor.h"
#include "tests/support/refusal.h"

namespace lockstep::comm {
namespace {

using Texts = std::vector<std::string>;
using Pairs = std::vector<std::pair<std::string, std::string>>;

TEST(NamedPart, name_and_settings_come_apart) {
  struct Case {
    const char* text;
    const char* name;
    Pairs settings;
  };
  const Case cases[] = {{"ring", "ring", {}},
                        {"ring:segment=4", "ring", {{"segment", "4"}}},
                        {"a:x=1,y=2,z=3", "a", {{"x", "1"}, {"y", "2"}, {"z", "3"}}},
                        {"a:x=", "a", {{"x", ""}}},
                        {"a:x=b=c", "a", {{"x", "b=c"}}},
                        {"a:x=b:c", "a", {{"x", "b:c"}}},
                        {"", "", {}}};
  for (const Case& each : cases) {
    const NamedPart part = named_part("schedule", each.text);
    EXPECT_EQ(part.name, each.name) << each.text;
    EXPECT_EQ(part.settings, each.settings) << each.text;
  }
}

TEST(NamedPart, setting_without_a_value_is_refused_with_kind_and_text) {
  for (const char* text : {"ring:segment", "ring:", "ring:segment=4,", "ring:segment=4,more", "ring:,"})
    expect_error(Fault::config, {"schedule", text}, [&] { static_cast<void>(named_part("schedule", text)); });
}

TEST(PartList, commas_separate_parts_unless_a_setting_follows) {
  for (const auto& [text, parts] : std::vector<std::pair<std::string, Texts>>{
           {"int8,int4:rotate=false,powersgd", {"int8", "int4:rotate=false", "powersgd"}},
           {"powersgd:rank=2,min_ratio=1,int8", {"powersgd:rank=2,min_ratio=1", "int8"}},
           {"powersgd:rank=2,int4:rotate=false", {"powersgd:rank=2", "int4:rotate=false"}},
           {"a:x=1,y=2,z=3,b:x=1,c", {"a:x=1,y=2,z=3", "b:x=1", "c"}},
           {"", {""}}})
    EXPECT_EQ(split_parts(text), parts) << text;
}

TEST(PartList, joined_parts_come_apart_again) {
  const Texts parts = {"none", "int8:rounding=stochastic,rotate=true", "topk", "powersgd:rank=2"};
  std::string list;
  for (const std::string& part : parts) list += (list.empty() ? "" : ",") + part;
  EXPECT_EQ(split_parts(list), parts);
}

TEST(PartCalled, settings_reach_the_part_and_wrong_ones_are_refused_by_name) {
  const auto [name, settings] = part_called(schedules(), "ring:segment=4096");
  EXPECT_EQ(name, "ring");
  EXPECT_EQ(settings.integer("segment"), 4096);
  EXPECT_EQ(part_called(schedules(), "ring").second.integer("segment"),
            Options::of(schedules().row("ring").settings).integer("segment"));
  expect_error(Fault::config, {"rign"}, [] { static_cast<void>(part_called(schedules(), "rign")); });
  expect_error(Fault::config, {"segmnet"},
               [] { static_cast<void>(part_called(schedules(), "ring:segmnet=1")); });
  expect_error(Fault::config, {"segment", "many"},
               [] { static_cast<void>(part_called(schedules(), "ring:segment=many")); });
}

TEST(PartCalled, every_schedule_and_compressor_is_called_by_its_row) {
  for (const auto& row : schedules().rows())
    EXPECT_EQ(part_called(schedules(), std::string(row.name)).first, row.name);
  for (const auto& row : compressors().rows())
    EXPECT_EQ(part_called(compressors(), std::string(row.name)).first, row.name);
}

}  // namespace
}  // namespace lockstep::comm
