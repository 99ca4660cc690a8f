#include "core/thread_pool.h"

#include <atomic>
#include <chrono>
#include <ctime>
#include <memory>
#include <thread>

#include <doctest/doctest.h>

#include "core/bounded_queue.h"
#include "core/error.h"

namespace r1 {
namespace {

using namespace std::chrono_literals;

TEST_CASE("tasks give results and exceptions to whoever waits") {
  ThreadPool pool(3);
  CHECK(pool.size() == 3);
  std::vector<std::future<int>> results;
  for (int i = 0; i < 100; ++i) results.push_back(pool.submit([i] { return i * i; }));
  for (int i = 0; i < 100; ++i) CHECK(results[static_cast<std::size_t>(i)].get() == i * i);
  auto bad = pool.submit([]() -> int { throw DataError("broken"); });
  CHECK_THROWS_WITH_AS(bad.get(), "broken", DataError);
  CHECK(pool.submit([] { return 1; }).get() == 1);  // the thread lives on
  auto only_movable = pool.submit([p = std::make_unique<int>(5)] { return *p; });
  CHECK(only_movable.get() == 5);
  CHECK_THROWS_AS(ThreadPool(0), ConfigError);
}

TEST_CASE("the destructor runs what is queued") {
  std::atomic<int> done{0};
  {
    ThreadPool pool(1);
    for (int i = 0; i < 50; ++i) pool.submit([&] { ++done; });
  }
  CHECK(done == 50);
}

TEST_CASE("a full queue makes the giver wait") {
  ThreadPool pool(1, 2);
  std::promise<void> gate;
  auto opened = gate.get_future().share();
  std::atomic<int> given{0};
  std::thread giver([&] {
    for (int i = 0; i < 5; ++i) {
      pool.submit([opened] { opened.wait(); });
      ++given;
    }
  });
  while (given < 3) std::this_thread::sleep_for(1ms);
  std::this_thread::sleep_for(20ms);
  CHECK(given == 3);  // one runs, two wait
  gate.set_value();
  giver.join();
  CHECK(given == 5);
}

TEST_CASE("a task may give tasks even when the queue is full") {
  std::atomic<int> done{0};
  {
    ThreadPool pool(2, 1);
    for (int i = 0; i < 4; ++i) {
      pool.submit([&] {
        for (int k = 0; k < 10; ++k) pool.submit([&] { ++done; });
      });
    }
    while (done < 40) std::this_thread::sleep_for(1ms);
  }
  CHECK(done == 40);
}

TEST_CASE("queue: order, bounds, closing") {
  BoundedQueue<int> queue(2);
  CHECK(queue.push(1));
  CHECK(queue.push(2));
  int third = 3;
  CHECK_FALSE(queue.try_push(third));
  CHECK(queue.size() == 2);
  CHECK(queue.pop() == 1);
  CHECK(queue.try_push(third));
  queue.close();
  CHECK(queue.closed());
  CHECK_FALSE(queue.push(4));
  CHECK(queue.pop() == 2);
  CHECK(queue.try_pop() == 3);
  CHECK(queue.pop() == std::nullopt);
  CHECK(queue.try_pop() == std::nullopt);
}

TEST_CASE("queue: closing wakes who waits, at both ends; waiting for a time ends") {
  BoundedQueue<int> empty(1), full(1);
  full.push(1);
  std::thread consumer([&] { CHECK(empty.pop() == std::nullopt); });
  std::thread producer([&] { CHECK_FALSE(full.push(2)); });
  CHECK(empty.pop_for(5ms) == std::nullopt);
  empty.close();
  full.close();
  consumer.join();
  producer.join();
}

TEST_CASE("queue: many producers and consumers lose nothing") {
  BoundedQueue<int> queue(3);
  std::atomic<long> sum{0};
  std::vector<std::thread> producers, consumers;
  for (int t = 0; t < 3; ++t) {
    producers.emplace_back([&] {
      for (int i = 1; i <= 1000; ++i) queue.push(i);
    });
    consumers.emplace_back([&] {
      while (const auto item = queue.pop()) sum += *item;
    });
  }
  for (auto& thread : producers) thread.join();
  queue.close();
  for (auto& thread : consumers) thread.join();
  CHECK(sum == 3 * 500500);
}

TEST_CASE("idle threads use no processor time") {
  ThreadPool pool(4);
  timespec before{}, after{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  std::this_thread::sleep_for(50ms);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  CHECK((after.tv_sec - before.tv_sec) * 1e3 + static_cast<double>(after.tv_nsec - before.tv_nsec) * 1e-6 < 10);
}

}  // namespace
}  // namespace r1
