// For tests: a "GPU" in host memory of this process, whose memory others open and which joins groups of two; it can be made to fail.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <string>

#include "comm/weight_device.h"
#include "core/error.h"

namespace r1::test {

// What all of them see.
struct FakeGpus {
  struct Group {
    std::mutex mutex;
    std::condition_variable changed;
    int members = 0;
    bool broken = false;
    std::deque<std::vector<std::byte>> messages;
  };
  std::mutex mutex;
  std::map<std::string, const std::byte*> handles;
  std::map<std::string, std::shared_ptr<Group>> groups;
  std::atomic<int> names{0};
};

class FakeWeightDevice final : public WeightDevice {
 public:
  FakeWeightDevice(FakeGpus& gpus, std::string id) : gpus_(gpus), id_(std::move(id)) { id_.resize(16, '.'); }
  std::string no_nccl;              // nccl_missing()
  std::atomic<bool> no_open{false};   // open() fails
  std::atomic<int> messages_until_dead{1 << 30};  // then a message fails at this end
  std::atomic<int> groups_joined{0}, opened{0}, settled{0};
  std::function<void(const std::byte*)> on_open;

  std::string id() const override { return id_; }
  int device() const override { return -1; }
  std::string nccl_missing() const override { return no_nccl; }
  std::shared_ptr<std::byte> allocate(std::size_t bytes) override {
    const std::shared_ptr<std::byte[]> memory(new std::byte[bytes]());
    return {memory, memory.get()};
  }
  std::string handle(const std::byte* memory) override {
    const std::string name = "handle" + std::to_string(gpus_.names++);
    const std::lock_guard lock(gpus_.mutex);
    gpus_.handles[name] = memory;
    return name;
  }
  std::shared_ptr<const std::byte> open(const std::string& handle) override {
    const std::lock_guard lock(gpus_.mutex);
    if (no_open || !gpus_.handles.contains(handle)) throw DeviceError("this memory does not open");
    ++opened;
    if (on_open) on_open(gpus_.handles[handle]);
    return {std::shared_ptr<const std::byte>(), gpus_.handles[handle]};
  }
  void settle() override { ++settled; }
  void copy(std::span<const Copy> copies) override {
    for (const Copy& c : copies) std::memcpy(c.to, c.from, c.bytes);
  }
  std::vector<Sum> sums(const std::byte* memory, std::span<const std::size_t> ends) override {
    std::vector<Sum> out;
    std::size_t at = 0;
    for (const std::size_t end : ends) {
      Sum sum{};
      for (; at < end; ++at) sum[0] += (at + 1) * static_cast<std::uint64_t>(memory[at]), sum[1] += (at ^ 0x55) * static_cast<std::uint64_t>(memory[at]);
      out.push_back(sum);
    }
    return out;
  }
  std::string new_group() override { return "group" + std::to_string(gpus_.names++); }
  std::unique_ptr<Communicator> join(const std::string& group, int rank, const Communicator::Options& options) override {
    std::shared_ptr<FakeGpus::Group> g;
    {
      const std::lock_guard lock(gpus_.mutex);
      auto& place = gpus_.groups[group];
      if (!place) place = std::make_shared<FakeGpus::Group>();
      g = place;
    }
    ++groups_joined;
    return std::make_unique<Pair>(*this, g, rank, options);
  }

 private:
  class Pair final : public Communicator {
   public:
    Pair(FakeWeightDevice& device, std::shared_ptr<FakeGpus::Group> group, int rank, const Options& options) : Communicator(rank, 2, options), device_(device), group_(std::move(group)) {
      std::unique_lock lock(group_->mutex);
      ++group_->members;
      group_->changed.notify_all();
      wait(lock, [&] { return group_->members == 2; }, "connecting");
    }
    const char* name() const override { return "fake"; }
    void abort() override {
      const std::lock_guard lock(group_->mutex);
      group_->broken = true;
      group_->changed.notify_all();
    }

   private:
    template <class F> void wait(std::unique_lock<std::mutex>& lock, F&& done, const char* what) {
      while (!done()) {
        if (group_->broken) throw CommError(message(what, ": the other end is gone"));
        if (options_.give_up && options_.give_up()) throw CommError(message(what, ": it was given up"));
        group_->changed.wait_for(lock, std::chrono::milliseconds(2));
      }
    }
    void move(std::span<const Part> sends, std::span<const Part> receives, const char* what) override {
      std::unique_lock lock(group_->mutex);
      if (device_.messages_until_dead-- <= 0) throw CommError(message(what, ": this end failed"));
      for (const Part& p : sends) {
        group_->messages.emplace_back(p.data, p.data + p.bytes);
        group_->changed.notify_all();
        wait(lock, [&] { return group_->messages.empty(); }, what);
      }
      for (const Part& p : receives) {
        wait(lock, [&] { return !group_->messages.empty(); }, what);
        R1_CHECK(group_->messages.front().size() == p.bytes, "a message of ", group_->messages.front().size(), " bytes");
        std::memcpy(p.data, group_->messages.front().data(), p.bytes);
        group_->messages.pop_front();
        group_->changed.notify_all();
      }
    }
    FakeWeightDevice& device_;
    std::shared_ptr<FakeGpus::Group> group_;
  };

  FakeGpus& gpus_;
  std::string id_;
};

}  // namespace r1::test
