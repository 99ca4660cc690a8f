#include "comm/weight_device.h"

namespace r1 {

std::shared_ptr<WeightDevice> make_weight_device() { return nullptr; }
std::string weight_device_unavailable() { return "this r1 was built without CUDA: configure with -DR1_CUDA=ON (preset cuda)"; }

}  // namespace r1
