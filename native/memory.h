// Blocks for tensors: 64-byte aligned; large ones straight from the system, so that they can be huge pages
// and go back to it at once.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#ifdef _WIN32
#include <malloc.h>
#else
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

#include <stdexcept>

namespace lowbit {

constexpr size_t kCacheLine = 64;
constexpr size_t kHugePage = size_t(2) << 20;
// A multiple of the pages of every system.
constexpr size_t kPages = size_t(64) << 10;

inline size_t roundUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

#ifdef _WIN32

// Null if the memory is not to be had. The heap takes large blocks straight from the system by itself.
inline void* allocateBlock(size_t bytes) {
  return bytes > SIZE_MAX / 4 ? nullptr : _aligned_malloc(roundUp(bytes, kCacheLine), kCacheLine);
}

inline void freeBlock(void* block, size_t) { _aligned_free(block); }

inline void* mapFile(const char*, size_t) { throw std::runtime_error("it is not supported on Windows"); }

inline void unmapFile(void*, size_t) {}

#else

// Huge pages are those that a block fills at least half; what is left over lies in small ones, lest a block a
// little longer than a huge page takes two.
inline size_t hugeBytes(size_t bytes) { return (bytes + kHugePage / 2) / kHugePage * kHugePage; }

inline size_t mappedBytes(size_t bytes) {
  const size_t huge = hugeBytes(bytes);
  return huge > bytes ? huge : roundUp(bytes, kPages);
}

// Null if the memory is not to be had.
inline void* allocateBlock(size_t bytes) {
  if (bytes > SIZE_MAX / 4) return nullptr;
  if (bytes < kHugePage) {
    void* block = nullptr;
    return posix_memalign(&block, kCacheLine, roundUp(bytes, kCacheLine)) == 0 ? block : nullptr;
  }
  // One huge page more than needed, then what lies before and behind the aligned part goes back.
  const size_t length = mappedBytes(bytes);
  void* mapped =
      mmap(nullptr, length + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  char* start = (char*)mapped;
  char* block = (char*)roundUp((size_t)mapped, kHugePage);
  if (block > start) munmap(start, block - start);
  munmap(block + length, start + kHugePage - block);
#ifdef MADV_HUGEPAGE
  madvise(block, hugeBytes(bytes), MADV_HUGEPAGE);
#endif
  return block;
}

inline void freeBlock(void* block, size_t bytes) {
  if (bytes < kHugePage)
    free(block);
  else
    munmap(block, mappedBytes(bytes));
}

// Memory that is a new file at path, whose name is gone again when this returns: the system writes it there when
// it needs the memory for others, and reads it when it is used. Room for all of it is taken at once.
inline void* mapFile(const char* path, size_t bytes) {
  const int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) throw std::runtime_error(strerror(errno));
  unlink(path);
#ifdef __APPLE__
  const int problem = ftruncate(file, (off_t)bytes) == 0 ? 0 : errno;
#else
  const int problem = posix_fallocate(file, 0, (off_t)bytes);
#endif
  void* block = problem ? MAP_FAILED : mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  const int failed = problem ? problem : errno;
  close(file);
  if (block == MAP_FAILED) throw std::runtime_error(strerror(failed));
  return block;
}

inline void unmapFile(void* block, size_t bytes) { munmap(block, bytes); }

#endif

}  // namespace lowbit
