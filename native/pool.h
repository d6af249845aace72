// The thread pool of the process: parallelFor for whichever queue thread asks, one job at a time.
#pragma once
#include <stdint.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

namespace lowbit {

inline void pauseCpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits for ready(): at most 1 ms awake, then asleep until notify() is called after ready() became true.
// `sleepers` is raised before ready() is looked at for the last time, and notify() looks at it after ready() became true, both
// sequentially consistent: one of the two sees the other, so no wake-up is lost.
class Parking {
 public:
  template <class Ready>
  void wait(Ready ready) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(1);
    do {
      for (int i = 0; i < 64; i++) {
        if (ready()) return;
        pauseCpu();
      }
      std::this_thread::yield();
    } while (std::chrono::steady_clock::now() < deadline);
    std::unique_lock<std::mutex> lock(mutex_);
    sleepers_++;
    wake_.wait(lock, ready);
    sleepers_--;
  }

  void notify() {
    if (sleepers_ == 0) return;
    // A sleeper between its last look and its sleep holds the mutex.
    { std::lock_guard<std::mutex> lock(mutex_); }
    wake_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<int32_t> sleepers_{0};
};

// A job is a counter of tasks that the leader and the workers draw from. Workers enter by taking one of the job's seats; the leader
// takes back the seats left, waits until everyone who entered has left, and only then may the job's closure go away.
class Pool {
 public:
  static constexpr int32_t kMaxThreads = 256;

  // Never destroyed: its threads may outlive every environment.
  static Pool& get() {
    static Pool* pool = new Pool;
    return *pool;
  }

  void run(int32_t tasks, int32_t threads, void (*body)(void*, int32_t), void* context) {
    std::lock_guard<std::mutex> lead(leader_);
    const int32_t seats = std::min({threads, tasks, kMaxThreads}) - 1;
    try {
      for (; workers_ < seats; workers_++) std::thread([this] { work(); }).detach();
    } catch (const std::system_error&) {
      // The system grants no more threads: those there are do the work.
    }
    body_ = body;
    context_ = context;
    tasks_ = tasks;
    next_.store(0, std::memory_order_relaxed);
    state_ = (uint32_t)seats * kSeat;
    opened_.notify();
    draw();
    state_ &= kSeat - 1;
    emptied_.wait([this] { return state_ == 0; });
  }

  // How many threads share the work of a parallelFor of this thread; 1 inside a task, so that nested calls run inline.
  static int32_t& threadsHere() {
    static thread_local int32_t threads = 1;
    return threads;
  }

 private:
  // state_ = free seats · kSeat + workers inside.
  static constexpr uint32_t kSeat = 1 << 16;

  void draw() {
    int32_t& threads = threadsHere();
    const int32_t outside = threads;
    threads = 1;
    for (;;) {
      const int32_t task = next_.fetch_add(1, std::memory_order_relaxed);
      if (task >= tasks_) break;
      body_(context_, task);
    }
    threads = outside;
  }

  void work() {
    for (;;) {
      opened_.wait([this] { return state_ >= kSeat; });
      uint32_t state = state_;
      while (state >= kSeat && !state_.compare_exchange_weak(state, state - kSeat + 1)) {
      }
      if (state < kSeat) continue;
      draw();
      if (--state_ == 0) emptied_.notify();
    }
  }

  std::mutex leader_;
  int32_t workers_ = 0;
  // Written by the leader before it opens the job, read by those who entered.
  void (*body_)(void*, int32_t) = nullptr;
  void* context_ = nullptr;
  int32_t tasks_ = 0;
  // On cache lines of their own: every thread writes them.
  alignas(64) std::atomic<int32_t> next_{0};
  alignas(64) std::atomic<uint32_t> state_{0};
  alignas(64) Parking opened_;
  Parking emptied_;
};

}  // namespace lowbit
