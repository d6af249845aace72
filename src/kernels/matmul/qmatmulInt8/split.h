#pragma once
#include "wide.h"

/*
 * Bytes times bytes in 16 bits. A lane takes two neighbours of one quad of columns and two of the next, and
 * adds up their products with w + 128, 0 … 255. That fits where those of the four values of x that are
 * positive add up to 128 at most, and the negative ones to −128 at least; most do. So a row of x is split
 * into values that fit, and a list of quads that are multiplied on their own:
 *
 *     columns      k … k + 3    k + 4 … k + 7
 *     x            90 10 −3 7   60  5 −8 70       90 + 10 + 60 + 5 > 128
 *     fitting      90 10 −3 7    0  0  0  0
 *     others                    60  5 −8 70       with the place of its weights
 *
 * Neighbours that do not fit by themselves are halved, and the second half is one of the others.
 */

namespace LOWBIT_ISA {

/* The columns of a panel of so many rows of x; others of all rows are as many, with zeros behind the last. */
constexpr int INT8_SPLIT_ROWS = 4;
struct Int8Split {
  /* Others of a row: of eight columns two halves, and the second quad itself. */
  static constexpr int most = 3 * 4 * INT8_PIECES;
  alignas(64) uint8_t fitting[INT8_SPLIT_ROWS][INT8_PIECES * 32];
  struct {
    uint32_t words[INT8_SPLIT_ROWS];
    /* Of their weights, in bytes from the first piece of a strip. */
    uint32_t places[INT8_SPLIT_ROWS];
  } others[most];
  /* Of the others of each run. */
  int32_t ends[INT8_RUNS];
};

/* Rows of x whose splits are made at once: in whole panels about as much memory as float32 would take. */
constexpr int32_t INT8_SPLIT_MOST = 2 * INT8_TASK_ROWS;

#if defined(__SSE4_1__) && LANES < 16 && !defined(__AVXVNNI__)

/* Adds quads of `words` to the others of a row, those whose bits are set; their weights begin at `place`. */
INLINE void int8AddOthers(Int8Split& to, int32_t r, int32_t& count, uint32_t quads, __m128i words,
                          uint32_t place) {
  alignas(16) uint32_t all[4];
  _mm_store_si128((__m128i*)all, words);
  for (; quads; quads &= quads - 1, count++) {
    const int quad = __builtin_ctz(quads);
    to.others[count].words[r] = all[quad];
    to.others[count].places[r] = place + quad * INT8_STRIP * 4;
  }
}

/* Splits 16 columns, from column k of a panel on. */
INLINE void int8Split16(Int8Split& to, int32_t r, int32_t& count, const uint8_t* x, int32_t k,
                        uint32_t place) {
  const __m128i zero = _mm_setzero_si128(), one = _mm_set1_epi8(1), most = _mm_set1_epi16(128);
  const __m128i sign = _mm_set1_epi8((char)0x80), secondQuads = _mm_set1_epi64x((long long)(~0ull << 32));
  const __m128i values = loadAs<__m128i>(x);
  const __m128i above = _mm_maddubs_epi16(_mm_max_epi8(values, zero), one);
  const __m128i below = _mm_maddubs_epi16(_mm_sub_epi8(zero, _mm_min_epi8(values, zero)), one);
  auto fits = [&](__m128i a, __m128i b) {
    return _mm_cmpeq_epi32(_mm_cmpgt_epi16(_mm_max_epi16(a, b), most), zero);
  };
  auto withNext = [](__m128i sums) { return _mm_add_epi16(sums, _mm_shuffle_epi32(sums, 0xb1)); };
  const __m128i moved = _mm_andnot_si128(fits(withNext(above), withNext(below)), secondQuads);
  const uint32_t movedQuads = _mm_movemask_ps((__m128)moved);
  __m128i part = values;
  if (movedQuads) {
    const __m128i whole = fits(above, below);
    const uint32_t halved = 15 & ~_mm_movemask_ps((__m128)whole);
    if (halved) {
      const __m128i half = _mm_xor_si128(_mm_avg_epu8(_mm_xor_si128(values, sign), sign), sign);
      part = _mm_blendv_epi8(half, values, whole);
      int8AddOthers(to, r, count, halved, _mm_sub_epi8(values, part), place);
    }
    int8AddOthers(to, r, count, movedQuads, part, place);
  }
  storeAs(to.fitting[r] + k, _mm_andnot_si128(moved, part));
}

/* Splits up to INT8_SPLIT_ROWS rows from m on, the columns of a panel from k on. */
static void int8Split(Int8Split& to, const ByteRows& x, int32_t m, int32_t rows,
                      const Int8Runs& runs, int32_t k, int32_t pieceBytes) {
  int32_t from = 0;
  for (int32_t run = 0, piece = 0; piece < runs.pieces; run++, piece += runs.each) {
    const int32_t end = runs.pieces - piece < runs.each ? runs.pieces : piece + runs.each;
    int32_t counts[INT8_SPLIT_ROWS], most = from;
    for (int32_t r = 0; r < INT8_SPLIT_ROWS; r++) {
      const uint8_t* row = x.codes + (size_t)(m + (r < rows ? r : rows - 1)) * x.stride + k;
      counts[r] = from;
      for (int32_t i = piece * 32; i < end * 32; i += 16)
        int8Split16(to, r, counts[r], row + i, i, i / 32 * pieceBytes + i % 32 / 4 * INT8_STRIP * 4);
      if (counts[r] > most) most = counts[r];
    }
    for (int32_t r = 0; r < INT8_SPLIT_ROWS; r++)
      for (int32_t i = counts[r]; i < most; i++) to.others[i].words[r] = to.others[i].places[r] = 0;
    to.ends[run] = from = most;
  }
}

/*
 * The splits of M rows, tile after tile, and of each the panels of `depth` columns one after the other; null
 * where there is no memory for them.
 */
static const Int8Split* int8SplitAll(const TiledWeights& w, const ByteRows& x, int32_t M, int32_t depth,
                                     int32_t pieceBytes) {
  const int32_t deep = ceilDivide(w.K, depth), count = ceilDivide(M, INT8_SPLIT_ROWS) * deep;
  auto* splits = (Int8Split*)roomHere<Int8Split>(count * sizeof(Int8Split) / sizeof(float));
  const int32_t perTask = evenShare(count, 64);
  parallelFor(splits ? ceilDivide(count, perTask) : 0, [&](int32_t task) {
    for (int32_t i = task * perTask; i < (task + 1) * perTask && i < count; i++) {
      const int32_t m = i / deep * INT8_SPLIT_ROWS, k = i % deep * depth;
      const Int8Runs runs = int8RunsOf(w, x, k, w.K - k < depth ? w.K - k : depth);
      int8Split(splits[i], x, m, M - m, runs, k, pieceBytes);
    }
  });
  return splits;
}

#else
INLINE void int8Split(Int8Split&, const ByteRows&, int32_t, int32_t, const Int8Runs&, int32_t, int32_t) {}
INLINE const Int8Split* int8SplitAll(const TiledWeights&, const ByteRows&, int32_t, int32_t, int32_t) {
  return nullptr;
}
#endif

/*
 * sums [rows, INT8_VECTORS] += w · x over a run, so many pieces of a strip from `piece` on. A function of its
 * own: GCC keeps all sums in registers only where nothing else lives beside them.
 */
template <int rows, int groups>
OUTLINE void int8SplitRun(Int8Kept<i32v, rows>& kept, const Int8Piece<1, groups>* strip, const Int8Split& x,
                          int32_t piece, int32_t pieces, int32_t run) {
  i32v sums[rows][INT8_VECTORS];
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < INT8_VECTORS; v++) sums[r][v] = kept.of[r][v];
  }
  const uint8_t* values = x.fitting[0] + piece * 32;
  for (auto* w = strip + piece; pieces > 0; pieces--, w++) {
    constexpr size_t quad = sizeof(w->codes[0][0]);
    const uint8_t* codes = w->codes[0][0];
    for (const uint8_t* end = values + 32; values < end; values += 8, codes += 2 * quad) {
      u32v first[INT8_VECTORS], second[INT8_VECTORS];
#pragma GCC unroll 4
      for (int v = 0; v < INT8_VECTORS; v++) {
        first[v] = loadAs<u32v>(codes + v * LANES * 4);
        second[v] = loadAs<u32v>(codes + quad + v * LANES * 4);
      }
#pragma GCC unroll 8
      for (int r = 0; r < rows; r++) {
        const uint8_t* row = values + r * sizeof(x.fitting[0]);
        const u32v four = int8Splat(row), next = int8Splat(row + 4);
#pragma GCC unroll 4
        for (int v = 0; v < INT8_VECTORS; v++) {
          sums[r][v] += sumPairs(dotPairs(first[v], four) + dotPairs(second[v], next));
          inOrder(sums[r][v]);
        }
      }
    }
  }
  const uint8_t* codes = strip->codes[0][0];
  for (int32_t i = run ? x.ends[run - 1] : 0; i < x.ends[run]; i++) {
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
      const u32v four = splat(x.others[i].words[r]);
#pragma GCC unroll 4
      for (int v = 0; v < INT8_VECTORS; v++)
        sums[r][v] += sumPairs(dotPairs(loadAs<u32v>(codes + x.others[i].places[r] + v * LANES * 4), four));
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < INT8_VECTORS; v++) kept.of[r][v] = sums[r][v];
  }
}

}  // namespace LOWBIT_ISA
