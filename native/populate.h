// A thread on which the system makes the pages of large blocks before they are written: where a virtual
// machine's memory comes from its host, that takes longer than writing, and else would be in the way of it.
#pragma once
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "memory.h"

namespace lowbit {

class Populator {
 public:
  ~Populator() { stop(); }

  // Of a block, its first bytes, after those of blocks added before.
  void add(void* block, size_t bytes) {
    if (!kPopulates || bytes < kHugePage) return;
    std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) return;
    pieces_.push_back({(char*)block, (char*)block + bytes});
    if (!thread_.joinable()) thread_ = std::thread([this] { work(); });
    wake_.notify_one();
  }

  // When this returns, nothing is done with the block any more.
  void drop(void* block, size_t bytes) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      for (auto piece = pieces_.begin(); piece != pieces_.end();)
        piece = piece->at >= block && piece->at < (char*)block + bytes ? pieces_.erase(piece) : piece + 1;
    }
    std::lock_guard<std::mutex> idle(busy_);
  }

  void stop() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
      pieces_.clear();
    }
    wake_.notify_one();
    if (thread_.joinable()) thread_.join();
  }

 private:
  struct Piece {
    char* at;
    char* end;
  };

  void work() {
    for (;;) {
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [this] { return stopping_ || !pieces_.empty(); });
        if (stopping_) return;
      }
      // Taken first: what is dropped while a page is made waits for it.
      std::lock_guard<std::mutex> busy(busy_);
      char* at;
      size_t bytes;
      {
        std::lock_guard<std::mutex> lock(mutex_);
        if (pieces_.empty()) continue;
        Piece& first = pieces_.front();
        at = first.at;
        bytes = first.end - at < (ptrdiff_t)kHugePage ? first.end - at : kHugePage;
        first.at += bytes;
        if (first.at == first.end) pieces_.pop_front();
      }
      populatePages(at, bytes);
    }
  }

  std::mutex mutex_;
  std::mutex busy_;
  std::condition_variable wake_;
  std::deque<Piece> pieces_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace lowbit
