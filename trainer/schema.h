// Everything a config may say: the fixed sections declared here and the tables of parts from every room.
#pragma once

#include "core/options.h"

namespace lockstep::trainer {

[[nodiscard]] Schema config_schema();

}  // namespace lockstep::trainer
