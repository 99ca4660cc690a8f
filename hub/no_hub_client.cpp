// hub_client.h where cpp-httplib or OpenSSL is missing.
#include "core/error.h"
#include "hub/hub_client.h"
#include "hub/hub_push.h"

namespace r1 {
namespace {
[[noreturn]] void missing() { throw ConfigError("this r1 was built without an HTTP library (libcpp-httplib-dev, libssl-dev): nothing can be downloaded or pushed"); }
}  // namespace

HubOptions hub_options_from_environment() { missing(); }
HubClient::HubClient(HubOptions) { missing(); }
HubListing HubClient::list(const HubName&) { missing(); }
std::filesystem::path HubClient::pull(const HubName&, const std::function<std::vector<std::string>(const HubListing&)>&, const std::function<void(const HubProgress&)>&) { missing(); }
PushResult push_to_hub(HubOptions, const std::string&, const std::vector<PushFile>&, const PushOptions&, const std::function<void(const HubProgress&)>&) { missing(); }
std::vector<std::string> choose_model_files(const HubListing&, const HubName&) { missing(); }

}  // namespace r1
