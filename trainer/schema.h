// Everything a config may say: the fixed sections declared here and the tables of parts from every room.
#pragma once

#include "core/options.h"

namespace lockstep::trainer {

/// `allreduce.name` when nobody names one; a name for the config alone: schedule_name() says what it stands
/// for.
inline constexpr std::string_view kDefaultSchedule = "by_place";

[[nodiscard]] Schema config_schema();

}  // namespace lockstep::trainer
