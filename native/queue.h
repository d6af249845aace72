// A queue of commands, the thread that executes them, first in, first out, and the memory they work on.
#pragma once
#include <stdio.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "memory.h"
#include "pool.h"

namespace lowbit {

// Executes the record at words and returns its length, 0 if it is not one (the dispatch made by
// native/def.mjs).
using RunRecord = size_t (*)(const double* words, size_t count);

class Queue {
 public:
  static constexpr int32_t kStopFlags = 64;


  Queue(RunRecord runRecord, int32_t threads)
      : runRecord_(runRecord), thread_([this, threads] { work(threads); }) {}

  ~Queue() {
    stop();
    for (const auto& [block, kind] : blocks_) giveBack(block, kind);
  }

  // Null if the memory is not to be had. The queue owns the block: what is never freed goes when the queue
  // goes.
  void* allocate(size_t bytes) {
    void* block = allocateBlock(bytes);
    if (!block) return nullptr;
    std::lock_guard<std::mutex> lock(mutex_);
    blocks_[block] = {bytes, false};
    return block;
  }

  // As allocate, but memory that is a file; see mapFile. Throws what the system says if it is not to be had.
  void* map(const char* path, size_t bytes) {
    void* block = mapFile(path, bytes);
    std::lock_guard<std::mutex> lock(mutex_);
    blocks_[block] = {bytes, true};
    return block;
  }

  // Gives a block back once the commands before have run.
  void free(void* block) {
    push([this, block] {
      std::unique_lock<std::mutex> lock(mutex_);
      const auto found = blocks_.find(block);
      if (found == blocks_.end()) return;
      const Block kind = found->second;
      blocks_.erase(found);
      lock.unlock();
      giveBack(block, kind);
    });
  }

  void write(void* address, const uint8_t* bytes, size_t count) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (commands_.empty() && !busy_) {
        // Nothing to wait for: spare the copy of a copy.
        std::copy_n(bytes, count, (uint8_t*)address);
        return;
      }
    }
    push([address, copy = std::vector<uint8_t>(bytes, bytes + count)] {
      std::copy(copy.begin(), copy.end(), (uint8_t*)address);
    });
  }

  // Runs a list, of whose kernels none begins, and which leave out what they have not begun, once the flag has
  // been raised to the ticket; no flag is -1.
  void run(const double* words, size_t count, int32_t flag = -1, int32_t ticket = 0) {
    const Stop stop = {flag < 0 ? nullptr : &flags_[flag], ticket};
    push([this, list = std::vector<double>(words, words + count), stop] {
      Pool::stopHere() = stop;
      for (size_t at = 0; at < list.size() && failure_.empty() && !stopping_ && !stop.raised();) {
        const size_t length = runRecord_(&list[at], list.size() - at);
        if (length == 0) {
          char received[80];
          snprintf(received, sizeof received, "kernel id %g at word %zu of %zu", list[at], at, list.size());
          failure_ =
              std::string("run: a list must hold whole records of known kernels; received ") + received;
        }
        at += length;
      }
    });
  }

  // Takes effect at once, not in its turn.
  void raise(int32_t flag, int32_t ticket) { __atomic_store_n(&flags_[flag], ticket, __ATOMIC_RELAXED); }

  // As write, but copies once, when its turn comes: the bytes must stay until done(failure) is called, on the
  // queue thread.
  void upload(void* address, const uint8_t* bytes, size_t count,
              std::function<void(const std::string& failure)> done) {
    push([this, address, bytes, count, done = std::move(done)] {
      if (failure_.empty()) std::copy_n(bytes, count, (uint8_t*)address);
      done(failure_);
    });
  }

  // Calls done(failure) on the queue thread once the bytes are in the target, or with what failed before.
  void read(const void* address, uint8_t* target, size_t count,
            std::function<void(const std::string& failure)> done) {
    push([this, address, target, count, done = std::move(done)] {
      if (failure_.empty()) std::copy_n((const uint8_t*)address, count, target);
      done(failure_);
    });
  }

  // Ends the thread after the kernel it is in; commands not begun are dropped.
  void stop() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable()) thread_.join();
    commands_.clear();
  }

 private:
  struct Block {
    size_t bytes;
    bool isFile;
  };

  static void giveBack(void* block, Block kind) {
    kind.isFile ? unmapFile(block, kind.bytes) : freeBlock(block, kind.bytes);
  }

  void push(std::function<void()> command) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      commands_.push_back(std::move(command));
    }
    wake_.notify_one();
  }

  void work(int32_t threads) {
    Pool::threadsHere() = threads;
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return stopping_ || !commands_.empty(); });
      if (stopping_) return;
      std::function<void()> command = std::move(commands_.front());
      commands_.pop_front();
      busy_ = true;
      lock.unlock();
      command();
      command = nullptr;
      lock.lock();
      busy_ = false;
    }
  }

  const RunRecord runRecord_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> commands_;
  std::unordered_map<void*, Block> blocks_;
  int32_t flags_[kStopFlags] = {};
  bool busy_ = false;
  std::atomic<bool> stopping_{false};  // read between records without the mutex
  std::string failure_;                // only the queue thread touches it
  std::thread thread_;                 // last: it starts when all else is there
};

}  // namespace lowbit
