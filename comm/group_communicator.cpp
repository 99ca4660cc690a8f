// Some of a run's ranks as a communicator of their own: peers are renumbered, all else is the whole's.
#include <algorithm>

#include "comm/communicator.h"

namespace r1 {

namespace {

int place_of(const std::vector<int>& members, int rank) {
  const auto at = std::find(members.begin(), members.end(), rank);
  R1_CHECK(at != members.end() && std::is_sorted(members.begin(), members.end()), "rank ", rank, " is no member of its group");
  return static_cast<int>(at - members.begin());
}

}  // namespace

class GroupCommunicator final : public Communicator {
 public:
  GroupCommunicator(Communicator& all, std::vector<int> members)
      : Communicator(place_of(members, all.rank()), static_cast<int>(members.size()), {}), all_(all), members_(std::move(members)) {}
  const char* name() const override { return all_.name(); }
  bool on_device() const override { return all_.on_device(); }

 private:
  std::vector<Part> renumbered(std::span<const Part> parts) const {
    std::vector<Part> out(parts.begin(), parts.end());
    for (Part& p : out) p.peer = members_[static_cast<std::size_t>(p.peer)];
    return out;
  }
  void move(std::span<const Part> sends, std::span<const Part> receives, const char* what) override {
    all_.exchange(renumbered(sends), renumbered(receives), what);
  }
  void add(DType type, std::span<const std::byte* const> parts, std::byte* out, std::int64_t n) override { all_.add(type, parts, out, n); }
  void copy(std::byte* to, const std::byte* from, std::size_t bytes) override { all_.copy(to, from, bytes); }
  std::byte* scratch(std::size_t bytes) override { return all_.scratch(bytes); }

  Communicator& all_;
  std::vector<int> members_;
};

std::unique_ptr<Communicator> make_group_communicator(Communicator& all, std::vector<int> members) {
  return std::make_unique<GroupCommunicator>(all, std::move(members));
}

}  // namespace r1
