// What this machine can do at most, as one line of JSON: `limits THREADS` prints [{"threads": 1, ...},
// {"threads": THREADS, ...}].
//
//   readGBs                       loops that do nothing but read 512 MB, the best of several
//   int8Gops128, int8Gops         integer dot products on registers only, of 128 bits and of the widest ones;
//                                 a multiply and an add are two operations. vpdpbusd, or where that is
//                                 missing vpmaddubsw and an addition in 16 bits
//   f32Gflops128, f32Gflops       vfmadd231ps, likewise
//   bf16Gflops                    vdpbf16ps, likewise
//
// The arithmetic loops are assembly: written in C, twelve accumulators spill to memory under some compilers.
// 0 where the CPU lacks the instruction.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

using Clock = std::chrono::steady_clock;

// The least time of many runs of `body(thread)` on all threads at once: what else the machine does only ever
// adds to it. The threads stay from run to run, spinning at the start of each, so that new ones need not find
// a core first.
template <class Body>
static double leastSeconds(int threads, int runs, Body body) {
  std::atomic<int> arrived{0}, finished{0};
  const auto each = [&](int thread) {
    double least = 1e9;
    for (int run = 1; run <= runs; run++) {
      arrived++;
      while (arrived < run * threads) {}
      const auto start = Clock::now();
      body(thread);
      finished++;
      while (finished < run * threads) {}
      const double took = std::chrono::duration<double>(Clock::now() - start).count();
      if (took < least) least = took;
    }
    return least;
  };
  std::vector<std::thread> others;
  for (int thread = 1; thread < threads; thread++) others.emplace_back([&, thread] { each(thread); });
  const double least = each(0);
  for (auto &other : others) other.join();
  return least;
}

static volatile uint64_t sink;

typedef uint64_t Vector __attribute__((vector_size(64)));

// Reads `bytes`, a multiple of 64 · streams, in so many runs at once, and asks for what lies `ahead` bytes
// behind.
template <int streams, int ahead> static void readAll(const char *from, size_t bytes) {
  const size_t run = bytes / streams / 64 * 64;
  Vector sums[4] = {};
  for (size_t i = 0; i < run; i += 64) {
#pragma GCC unroll 4
    for (int s = 0; s < streams; s++) {
      const char *at = from + s * run + i;
      if (ahead) __builtin_prefetch(at + ahead);
      sums[s] += *(const Vector *)at;
    }
  }
  const Vector sum = sums[0] + sums[1] + sums[2] + sums[3];
  sink = sum[0] + sum[7];
}

static double readGBs(int threads) {
  const size_t bytes = size_t(512) << 20, part = bytes / threads / 4096 * 4096;
  static std::vector<char> buffer(bytes + 64, 1);
  const char *start = (const char *)(((uintptr_t)buffer.data() + 63) / 64 * 64);
  const auto seconds = [&](void (*read)(const char *, size_t)) {
    return leastSeconds(threads, 4, [&](int thread) { read(start + thread * part, part); });
  };
  double least = 1e9;
  for (auto *read : {readAll<1, 0>, readAll<1, 2048>, readAll<1, 4096>, readAll<1, 8192>, readAll<2, 0>,
                     readAll<2, 4096>, readAll<4, 0>, readAll<4, 4096>})
    least = std::min(least, seconds(read));
  return part * threads / least / 1e9;
}

#if defined(__x86_64__)

static const long iterations = 400000;

// Twelve independent accumulators hide the latency of the instruction; where it takes two, six do, and
// products pass through a register beside them.
#define SIX(step, r) step(r, 0) step(r, 1) step(r, 2) step(r, 3) step(r, 4) step(r, 5)
#define TWELVE(step, r) SIX(step, r) step(r, 6) step(r, 7) step(r, 8) step(r, 9) step(r, 10) step(r, 11)
#define DOT(r, i) "vpdpbusd %%" r "mm12, %%" r "mm13, %%" r "mm" #i "\n"
#define MULTIPLY(r, i)                              \
  "vpmaddubsw %%" r "mm12, %%" r "mm13, %%" r "mm6\n" \
  "vpaddw %%" r "mm6, %%" r "mm" #i ", %%" r "mm" #i "\n"
#define FMA(r, i) "vfmadd231ps %%" r "mm12, %%" r "mm13, %%" r "mm" #i "\n"
#define PAIRS(r, i) "vdpbf16ps %%" r "mm12, %%" r "mm13, %%" r "mm" #i "\n"
#define ZERO(r, i) "vpxor %%xmm" #i ", %%xmm" #i ", %%xmm" #i "\n"
#define LOOP(steps, r)                                                                                      \
  long left = iterations;                                                                                   \
  asm volatile(TWELVE(ZERO, r) ZERO(r, 12) ZERO(r, 13) "1:\n" steps "dec %0\njnz 1b\nvzeroupper\n"          \
               : "+r"(left)                                                                                 \
               :                                                                                            \
               : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",      \
                 "xmm10", "xmm11", "xmm12", "xmm13")

static void dot128(int) { LOOP(TWELVE(DOT, "x"), "x"); }
static void dot512(int) { LOOP(TWELVE(DOT, "z"), "z"); }
static void bytes128(int) { LOOP(SIX(MULTIPLY, "x") SIX(MULTIPLY, "x"), "x"); }
static void bytes256(int) { LOOP(SIX(MULTIPLY, "y") SIX(MULTIPLY, "y"), "y"); }
static void fma128(int) { LOOP(TWELVE(FMA, "x"), "x"); }
static void fma256(int) { LOOP(TWELVE(FMA, "y"), "y"); }
static void fma512(int) { LOOP(TWELVE(FMA, "z"), "z"); }
static void pairs512(int) { LOOP(TWELVE(PAIRS, "z"), "z"); }

static double giga(int threads, int operations, void (*loop)(int)) {
  return 12.0 * iterations * operations * threads / leastSeconds(threads, 100, loop) / 1e9;
}

static void arithmetic(int threads) {
  const bool avx512 = __builtin_cpu_supports("avx512f"), avx2 = __builtin_cpu_supports("avx2"),
             vnni = avx512 && __builtin_cpu_supports("avx512vnni"),
             vnni128 = vnni && __builtin_cpu_supports("avx512vl"),
             fma = __builtin_cpu_supports("fma");
  const auto print = [](const char *name, double value) { printf(", \"%s\": %.1f", name, value); };
  print("int8Gops128", vnni128 ? giga(threads, 32, dot128) : avx2 ? giga(threads, 32, bytes128) : 0);
  print("int8Gops", vnni ? giga(threads, 128, dot512) : avx2 ? giga(threads, 64, bytes256) : 0);
  print("f32Gflops128", fma ? giga(threads, 8, fma128) : 0);
  print("f32Gflops", avx512 ? giga(threads, 32, fma512) : fma ? giga(threads, 16, fma256) : 0);
  print("bf16Gflops", avx512 && __builtin_cpu_supports("avx512bf16") ? giga(threads, 64, pairs512) : 0);
}

#else

static void arithmetic(int) {
  printf(", \"int8Gops128\": 0, \"int8Gops\": 0, \"f32Gflops128\": 0, \"f32Gflops\": 0, \"bf16Gflops\": 0");
}

#endif

int main(int argc, char **argv) {
  const int most = argc > 1 ? atoi(argv[1]) : 1;
  printf("[");
  for (int threads = 1; threads <= most; threads += most > 1 ? most - 1 : 1) {
    printf("%s{\"threads\": %d, \"readGBs\": %.1f", threads > 1 ? ", " : "", threads, readGBs(threads));
    arithmetic(threads);
    printf("}");
  }
  printf("]\n");
}
