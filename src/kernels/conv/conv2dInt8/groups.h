#pragma once
#include "tile.h"

/*
 * Which steps of a panel are added up in 16 bits, and in which order all are taken. Sums of products with
 * weights of −128 … 127 fit 16 bits where the pixels of a lane that are added up are not negative and come
 * to 256 at most. So a panel with negative pixels is lowered: each channel by the least of its pixels there.
 * They become small where the channel varies little, wherever it lies:
 *
 *     channel      −50 −48 −45 −50    90 93 95 91
 *     lowered        0   2   5   0     0  3  5  1
 *
 * What the weights of an output channel make of the least pixels is the same everywhere: its sums start
 * there.
 */

namespace LOWBIT_ISA {

/* Quads of a panel, at most. */
constexpr int32_t MAX_QUADS = 512;

/* The words of a panel: of each quad so many parts of `count` words, of the last part `lastCount`. */
struct PanelParts {
  uint32_t* words;
  size_t quadWords, partWords; /* from quad to quad, from part to part */
  int32_t parts, count, lastCount;
};

#if defined(__SSE4_1__) && LANES < 16 && !defined(__AVXVNNI__)

typedef int8_t pixelv __attribute__((vector_size(LANES * 4)));
typedef uint8_t bytev __attribute__((vector_size(LANES * 4)));

/* For each vector of words of a quad its place behind the quad's first word: visit(place). */
template <class F> INLINE void eachVector(const PanelParts& panel, F&& visit) {
  size_t from = 0;
  for (int32_t part = 0; part < panel.parts; part++, from += panel.partWords) {
    const int32_t count = part < panel.parts - 1 ? panel.count : panel.lastCount;
    for (int32_t i = 0; i < count; i += LANES) visit(from + i);
  }
}

/* The least byte of each column of four. */
INLINE uint32_t leastBytes(pixelv x) {
#if LANES == 8
  const __m256i all = (__m256i)x;
  __m128i some = _mm_min_epi8(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
#else
  __m128i some = (__m128i)x;
#endif
  some = _mm_min_epi8(some, _mm_shuffle_epi32(some, 0x4e));
  return (uint32_t)_mm_cvtsi128_si32(_mm_min_epi8(some, _mm_shuffle_epi32(some, 0xb1)));
}

template <class V> INLINE V greater(V a, V b) { return a > b ? a : b; }

/*
 * The least pixel of each channel of so many quads, from `words` on. What lies behind the words of a part
 * becomes one of them.
 */
template <int quads> INLINE void leastPixels(const PanelParts& panel, uint32_t* words, uint32_t* least) {
  const size_t quadWords = panel.quadWords;
  for (int32_t part = panel.count % LANES ? 0 : panel.parts - 1; part < panel.parts; part++) {
    const int32_t count = part < panel.parts - 1 ? panel.count : panel.lastCount;
    for (int k = 0; k < quads; k++) {
      uint32_t* quad = words + k * quadWords + part * panel.partWords;
      for (int32_t i = count; i % LANES; i++) quad[i] = quad[0];
    }
  }
  pixelv lowest[quads];
  for (int k = 0; k < quads; k++) lowest[k] = (pixelv)splat(0x7f7f7f7fu);
  eachVector(panel, [&](size_t at) {
#pragma GCC unroll 8
    for (int k = 0; k < quads; k++) {
      const pixelv pixels = loadAs<pixelv>(words + k * quadWords + at);
      lowest[k] = lowest[k] < pixels ? lowest[k] : pixels;
    }
  });
  for (int k = 0; k < quads; k++) least[k] = leastBytes(lowest[k]);
}

/*
 * Lowers so many quads, from `words` on, by the `least` pixels of their channels. Returns whether all sums of
 * two products fit 16 bits; if so, `sizes` becomes how many quads each is added up with.
 */
template <int quads>
static bool lowerQuads(const PanelParts& panel, uint32_t* words, uint32_t* least, uint8_t* sizes) {
  const size_t quadWords = panel.quadWords;
  leastPixels<quads>(panel, words, least);
  u32v by[quads];
  for (int k = 0; k < quads; k++) by[k] = splat(least[k]);
  /* The greatest sums of each quad, of two neighbours and of all. */
  i16v ones = {}, twos[4] = {}, eights = {};
  eachVector(panel, [&](size_t at) {
    i16v all = {}, last = {};
#pragma GCC unroll 8
    for (int k = 0; k < quads; k++) {
      uint32_t* quad = words + k * quadWords + at;
      const u32v lowered = (u32v)(loadAs<bytev>(quad) - (bytev)by[k]);
      storeAs(quad, lowered);
      const i16v sums = dotPairs(lowered, splat((uint32_t)EACH_BYTE));
      ones = greater(ones, sums);
      if (k % 2 == 1) twos[k / 2] = greater(twos[k / 2], last + sums), all += last + sums;
      last = sums;
    }
    eights = greater(eights, all);
  });
  const auto fit = [](i16v most) { return !any((i32v)(most > 256) != 0); };
  for (int k = 0; k < quads; k++)
    sizes[k] = quads == 8 && fit(eights) ? 8 : quads > 1 && fit(twos[k / 2]) ? 2 : 1;
  return fit(ones);
}

/*
 * Lowers the quads of a panel, and sorts its steps by groups of taps of as many quads. Where some sum of two
 * products does not fit 16 bits, all stays as it was: false.
 */
static bool lowerPanel(const PanelParts& panel, const Step* steps, int32_t stepCount, int32_t quads,
                       uint32_t* least, Step* sorted, StepGroups& groups) {
  const int32_t taps = stepCount / quads;
  uint8_t sizes[MAX_QUADS];
  for (int32_t quad = 0, some; quad < quads; quad += some) {
    uint32_t* words = panel.words + quad * panel.quadWords;
    some = quads - quad >= 8 ? 8 : quads - quad >= 2 ? 2 : 1;
    const auto lower = some == 8 ? lowerQuads<8> : some == 2 ? lowerQuads<2> : lowerQuads<1>;
    if (lower(panel, words, least + quad, sizes + quad)) continue;
    for (int32_t k = 0; k < quad + some; k++) {
      const bytev back = (bytev)splat(least[k]);
      eachVector(panel, [&](size_t at) {
        uint32_t* lowered = panel.words + k * panel.quadWords + at;
        storeAs(lowered, loadAs<bytev>(lowered) + back);
      });
    }
    return false;
  }
  int32_t count = 0;
  for (int32_t size = 8; size > 0; size = size == 8 ? 2 : size / 2) {
    for (int32_t quad = 0; quad < quads; quad += sizes[quad]) {
      for (int32_t tap = 0; sizes[quad] == size && tap < taps; tap++)
        for (int32_t k = 0; k < size; k++) sorted[count++] = steps[(quad + k) * taps + tap];
    }
    if (size == 8) groups.eights = count;
    if (size == 2) groups.twos = count;
  }
  return true;
}

/*
 * Sorts the steps of a panel whose pixels are not negative, first by twos the taps of two quads of which all
 * sums of two products each fit 16 bits when they are added up. Returns how many those are.
 */
static int32_t pairSteps(const PanelParts& panel, const Step* steps, int32_t stepCount, int32_t quads,
                         Step* sorted) {
  const int32_t taps = stepCount / quads;
  const uint32_t* words = panel.words;
  int32_t paired = 0, others = stepCount;
  for (int32_t quad = 0; quad < quads; quad += 2, steps += 2 * taps, words += 2 * panel.quadWords) {
    bool fit = quad + 1 < quads;
    i16v most = {};
    if (fit) {
      eachVector(panel, [&](size_t at) {
        const u32v both = loadAs<u32v>(words + at) + loadAs<u32v>(words + panel.quadWords + at);
        most = greater(most, dotPairs(both, splat((uint32_t)EACH_BYTE)));
      });
    }
    fit = fit && !any((i32v)(most > 256) != 0);
    for (int32_t i = 0; i < taps; i++) {
      if (fit) sorted[paired++] = steps[i], sorted[paired++] = steps[taps + i];
      else sorted[--others] = steps[i];
    }
    for (int32_t i = 0; !fit && quad + 1 < quads && i < taps; i++) sorted[--others] = steps[taps + i];
  }
  return paired;
}

/* What the sums of `count` channels from `first` on start with: their weights times the least pixels. */
OUTLINE void startChannels(const Conv& c, const Step* steps, int32_t stepCount, int32_t quads,
                          const uint32_t* least, int32_t first, int32_t count, Channel* channels) {
  const int32_t taps = stepCount / quads;
  for (int32_t tile = first / 16; tile * 16 < first + count; tile++) {
    const uint32_t* words = (const uint32_t*)c.w + (size_t)tile * c.wordsPerRow * 16;
    i32v sums[16 / LANES] = {}, excess = {};
    for (int32_t i = 0; i < stepCount; i++) {
      const u32v pixels = splat(least[i / taps]), sizes = magnitudes(pixels), negative = signs(pixels);
      excess = sumTimes<1>(excess, negatives(pixels));
      for (int v = 0; v < 16 / LANES; v++) {
        const u32v w = loadAs<u32v>(words + steps[i].w + v * LANES);
        sums[v] = dotMagnitudes(sums[v], sizes, negative, w ^ OFFSET_BYTES);
      }
    }
    int32_t all[16];
    for (int v = 0; v < 16 / LANES; v++) store(all + v * LANES, sums[v] - excess);
    for (int i = 0; i < 16; i++) {
      const int32_t o = tile * 16 + i - first;
      if (o >= 0 && o < count) channels[o].start = all[i];
    }
  }
}

#else
INLINE int32_t pairSteps(const PanelParts&, const Step*, int32_t, int32_t, Step*) { return 0; }
INLINE bool lowerPanel(const PanelParts&, const Step*, int32_t, int32_t, uint32_t*, Step*, StepGroups&) {
  return false;
}
INLINE void startChannels(const Conv&, const Step*, int32_t, int32_t, const uint32_t*, int32_t, int32_t,
                          Channel*) {}
#endif

}  // namespace LOWBIT_ISA
