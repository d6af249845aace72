// What this CPU, and the system on it, can do: asked of the processor itself, since not every compiler's
// run-time library knows.
#pragma once
#include <stdint.h>

#if defined(__x86_64__)
#include <cpuid.h>

namespace lowbit {

// The features that instruction sets of native/flags.mjs are made of.
struct Cpu {
  bool sse42 = false;
  bool avx2 = false;  // with FMA, F16C and BMI2
  bool avxVnni = false;
  bool avx512 = false;  // F, BW, VL, DQ, VNNI and BF16

  // Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, CPUID, and volume 1, 14.3
  // (what the system saves).
  Cpu() {
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return;
    sse42 = bit(c, 20);
    const bool fma = bit(c, 12) && bit(c, 29);
    const uint64_t saved = bit(c, 27) ? savedState() : 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
    avx2 = has(saved, kVectorState) && fma && bit(b, 5) && bit(b, 8);
    avx512 = avx2 && has(saved, kVectorState | kWideState) && bit(b, 16) && bit(b, 17) && bit(b, 30) &&
             bit(b, 31) && bit(c, 11);
    // Without this leaf its registers read zero.
    __get_cpuid_count(7, 1, &a, &b, &c, &d);
    avxVnni = avx2 && bit(a, 4);
    avx512 = avx512 && bit(a, 5);
  }

 private:
  static constexpr uint64_t kVectorState = 0x06;  // xmm and ymm
  static constexpr uint64_t kWideState = 0xe0;    // masks, zmm

  static bool bit(uint32_t word, int index) { return word >> index & 1; }
  static bool has(uint64_t word, uint64_t mask) { return (word & mask) == mask; }
  static uint64_t savedState() {
    uint32_t low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
  }
};

}  // namespace lowbit
#endif
