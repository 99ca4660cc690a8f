#include "rollout/step_device.h"

namespace r1 {

void DeviceStep::clear() {
  tokens.clear(), positions.clear(), runs.clear(), tables.clear(), draws.clear(), copy_from.clear(), copy_to.clear();
  table_begin.assign(1, 0);
  decode_rows = 0;
}

}  // namespace r1
