#pragma once
#include "conv.h"

/*
 * Channels that see themselves only, straight from the rows of their image: where a vector shuffles bytes, a
 * word is made of four neighbours of a row as it is read,
 *
 *     a row of the image     a0 a1 a2 a3 a4 …
 *     words, stride 1        a0 a1 a2 a3 | a1 a2 a3 a4 | …
 *     words, stride 2        a0 a1 a2 a3 | a2 a3 a4 a5 | …
 *
 * and meets as many weights of a row of the kernel. The shuffle makes the zeros left and right of the image,
 * too; rows above and below it are one of zeros.
 */

namespace LOWBIT_ISA {

#if LANES == 8

/* Words of a kernel, rows and columns of an image, and vectors of words in its rows. */
constexpr int32_t MAX_KERNEL_WORDS = 64, MAX_ROWS = 1 << 9, MAX_COLUMNS = 1 << 13, MAX_PLACES = 1 << 8;
/* What is read of a row at once. */
constexpr int32_t READ_BYTES = 16;

/* Where in a row the bytes of the first and the second four words of a vector lie, and which are theirs. */
struct Place {
  u32v order;
  int32_t first, second;
};

struct SinglesScratch {
  /* The kernels of 16 channels as words of their rows, INT8_OFFSET times their sums; the words of one. */
  alignas(64) uint32_t kernels[MAX_KERNEL_WORDS][16];
  alignas(64) int32_t starts[16];
  alignas(64) u32v w[MAX_KERNEL_WORDS];
  /* Of each vector of outputs of a row, and each word of a row of the kernel. */
  Place places[MAX_PLACES];
  /* The rows that a strip of outputs sees. */
  const uint8_t* rows[MAX_ROWS];
  uint8_t zeros[MAX_COLUMNS + READ_BYTES];
  /* The last rows of all, where they are narrower than what is read at once. */
  uint8_t ends[READ_BYTES][READ_BYTES];
};

INLINE int32_t rowWords(const ConvSizes& s) { return ceilDivide(s.kernelWidth, 4); }

/* Rows of the input that so many rows of outputs see, which are computed by fours. */
INLINE int32_t rowsSeen(const ConvSizes& s, int32_t rows) {
  return (roundUp(rows, 4) - 1) * s.strideHeight + (s.kernelHeight - 1) * s.dilationHeight + 1;
}

/* Whether a convolution whose groups have one channel is computed so. */
INLINE bool readsRows(const ConvSizes& s) {
  const int32_t vectors = 2 * ceilDivide(s.outWidth, TILE_PIXELS);
  return s.strideWidth <= 4 && s.dilationWidth == 1 && s.kernelHeight * rowWords(s) <= MAX_KERNEL_WORDS &&
         vectors * rowWords(s) <= MAX_PLACES && s.inWidth <= MAX_COLUMNS && rowsSeen(s, 4) <= MAX_ROWS;
}

/*
 * Where the words of all vectors of a row lie. What is read lies within the row, or begins with it; the last
 * vectors end with the row, unless they begin with it. `near`: eight words lie in the first bytes alone.
 */
static void placeColumns(const ConvSizes& s, bool near, Place* places) {
  const int32_t words = rowWords(s), last = s.outWidth - TILE_PIXELS;
  const int32_t most = s.inWidth > READ_BYTES ? s.inWidth - READ_BYTES : 0;
  for (int32_t i = 0; i < s.outWidth; i += TILE_PIXELS) {
    for (int32_t at = i > last && last > 0 ? last : i, v = 0; v < 2; v++, at += LANES) {
      for (int32_t word = 0; word < words; word++, places++) {
        uint8_t order[32];
        int32_t from[2];
        for (int32_t k = 0; k < 8; k++) {
          const int32_t column = (at + k) * s.strideWidth - s.paddingWidth + 4 * word;
          if (k == 0 || (k == 4 && !near)) from[k / 4] = column < 0 ? 0 : column < most ? column : most;
          if (k == 4 && near) from[1] = from[0];
          for (int32_t j = column; j < column + 4; j++)
            order[4 * k + j - column] = j >= 0 && j < s.inWidth ? (uint8_t)(j - from[k / 4]) & 15 : 0x80;
        }
        *places = {loadAs<u32v>(order), from[0], from[1]};
      }
    }
  }
}

/* Whether one of so many bytes is negative. */
INLINE bool anyNegative(const uint8_t* bytes, size_t count) {
  u32v all = {};
  size_t i = 0;
  for (; i + 32 <= count; i += 32) all |= loadAs<u32v>(bytes + i);
  if (count >= 32) {
    all |= loadAs<u32v>(bytes + count - 32);
    return _mm256_movemask_epi8((__m256i)all) != 0;
  }
  uint8_t some = 0;
  for (; i < count; i++) some |= bytes[i];
  return some >= 128;
}

/*
 * Lists the rows of a plane that `rows` rows of outputs see, from the row `first` on; whether a byte of them
 * is negative.
 */
static bool listRows(const Conv& c, const uint8_t* plane, int32_t first, int32_t rows,
                     SinglesScratch& scratch) {
  const int32_t width = c.s.inWidth, count = rowsSeen(c.s, rows);
  const int32_t begin = first < 0 ? 0 : first;
  const int32_t end = first + count < c.s.inHeight ? first + count : c.s.inHeight;
  const uint8_t** list = scratch.rows;
  for (int32_t row = first; row < begin && row < first + count; row++) *list++ = scratch.zeros;
  if (end > begin) {
    const uint8_t* from = plane + (size_t)begin * width;
    const size_t bytes = (size_t)(end - begin) * width;
    for (int32_t row = begin; row < end; row++) *list++ = plane + (size_t)row * width;
    /* Nothing is read behind the last row of all. */
    for (int32_t row = end - 1; row >= begin && c.xEnd - plane - (size_t)row * width < READ_BYTES; row--)
      list[row - end] =
          (uint8_t*)__builtin_memcpy(scratch.ends[row % READ_BYTES], plane + (size_t)row * width, width);
    while (list < scratch.rows + count) *list++ = scratch.zeros;
    return anyNegative(from, bytes);
  }
  while (list < scratch.rows + count) *list++ = scratch.zeros;
  return false;
}

/* The words of a vector of outputs; if they are `near`, the first bytes hold all. */
template <bool near> INLINE u32v wordsOf(const uint8_t* row, const Place& place) {
  const __m128i first = loadAs<__m128i>(row + place.first);
  const __m256i bytes = near ? _mm256_broadcastsi128_si256(first)
                             : _mm256_inserti128_si256(_mm256_castsi128_si256(first),
                                                       loadAs<__m128i>(row + place.second), 1);
  return (u32v)_mm256_shuffle_epi8(bytes, (__m256i)place.order);
}

/* What rows of a channel are computed from. */
struct SingleRows {
  /* Rows from an output's first row to that of the next, and from one of the kernel to the next. */
  int32_t down, dilation;
  int32_t height, words; /* of the kernel */
  Channel channel;
  CodeLimits range;
};

/*
 * Two vectors of outputs of a row and of the next, out of the rows from `first` and `second` on. Where
 * outputs move by one pixel of 3 × 3, both rows share what they read.
 */
template <bool codes, int known, bool shared>
INLINE __m256i multiplySingle(const SingleRows& c, const SinglesScratch& scratch, const uint8_t* const* first,
                              const uint8_t* const* second, const Place* firstPlace,
                              const Place* secondPlace) {
  i32v dots[2][2];
  for (int v = 0; v < 4; v++) dots[v / 2][v % 2] = splat(INT8_OFFSET ? c.channel.start : 0);
  const auto add = [&](i32v& sums, u32v pixels, u32v w) {
    sums = codes ? dotCodes(sums, pixels, w)
                 : dotInt8(sums, pixels ^ splat((uint32_t)INT8_OFFSET * (uint32_t)EACH_BYTE), w);
  };
  if constexpr (shared) {
#pragma GCC unroll 4
    for (int i = 0; i <= known; i++) {
      for (int v = 0; v < 2; v++) {
        const u32v pixels = wordsOf<true>((v ? second : first)[i], *(v ? secondPlace : firstPlace));
        if (i < known) add(dots[0][v], pixels, scratch.w[i]);
        if (i > 0) add(dots[1][v], pixels, scratch.w[i - 1]);
      }
    }
  } else {
    const int32_t height = known ? known : c.height, words = known ? 1 : c.words;
#pragma GCC unroll 4
    for (int32_t i = 0; i < height; i++) {
      for (int32_t word = 0; word < words; word++) {
        const u32v w = scratch.w[i * words + word];
        for (int r = 0; r < 2; r++) {
          const int32_t row = r * c.down + i * c.dilation;
          add(dots[r][0], wordsOf<false>(first[row], firstPlace[word]), w);
          add(dots[r][1], wordsOf<false>(second[row], secondPlace[word]), w);
        }
      }
    }
  }
  const __m256i values = wholeValues(dots[0], c.channel, c.range);
  return pairCodes(values, wholeValues(dots[1], c.channel, c.range), c.range);
}

/*
 * So many rows of outputs of a plane. A short row is written past its end, where the next one will be.
 */
template <bool codes, int known, bool shared>
OUTLINE void multiplyImage(const SingleRows& given, const SinglesScratch& scratch, int32_t width,
                           int32_t rows, uint8_t* y) {
  const SingleRows c = given;
  const uint8_t *const *x = scratch.rows, *end = y + rows * width;
  const Place* places = scratch.places;
  if (width >= TILE_PIXELS) {
    for (int32_t r = 0; r < rows; r += 2, x += 2 * c.down, y += 2 * width) {
      const Place* place = places;
      for (int32_t i = 0; i < width; i += TILE_PIXELS, place += 2 * c.words) {
        const int32_t at = i + TILE_PIXELS > width ? width - TILE_PIXELS : i;
        const __m256i both =
            multiplySingle<codes, known, shared>(c, scratch, x, x, place, place + c.words);
        storeAs(y + at, _mm256_castsi256_si128(both));
        if (r + 1 < rows) storeAs(y + width + at, _mm256_extracti128_si256(both, 1));
      }
    }
    return;
  }
  /* The second vectors are beside the first, or two rows further down. */
  const bool below = width <= LANES;
  const Place* beside = below ? places : places + c.words;
  for (int32_t r = 0; r < rows; r += below ? 4 : 2, x += below ? 4 * c.down : 2 * c.down) {
    const __m256i both = multiplySingle<codes, known, shared>(c, scratch, x, below ? x + 2 * c.down : x,
                                                              places, beside);
    const __m128i first = _mm256_castsi256_si128(both), second = _mm256_extracti128_si256(both, 1);
    const auto write = [&](__m128i values) {
      if (y + TILE_PIXELS <= end) storeAs(y, values);
      else if (y < end) storeCodes(values, width, y);
      y += width;
    };
    write(first);
    write(second);
    if (!below) continue;
    write(_mm_unpackhi_epi64(first, first));
    write(_mm_unpackhi_epi64(second, second));
  }
}

/* The kernels of channels 16·tile … 16·tile + 15. */
static void layKernels(const Conv& c, int32_t tile, SinglesScratch& scratch) {
  const ConvSizes& s = c.s;
  const uint32_t* w = (const uint32_t*)c.w + (size_t)tile * c.wordsPerRow * 16;
  for (int v = 0; v < 16; v += LANES) {
    i32v sums = {};
    for (int32_t i = 0, step = 0; i < s.kernelHeight; i++) {
      for (int32_t j = 0; j < s.kernelWidth; j += 4, step++) {
        u32v words = {};
        for (int32_t k = j; k < j + 4 && k < s.kernelWidth; k++) {
          const u32v column = loadAs<u32v>(w + (k * c.quads + i / 4) * 16 + v);
          words |= (column >> (uint32_t)(i % 4 * 8) & 255u) << (uint32_t)((k - j) * 8);
        }
        if (INT8_OFFSET) sums = dotCodes(sums, splat((uint32_t)EACH_BYTE), words);
        storeAs(scratch.kernels[step] + v, words);
      }
    }
    store(scratch.starts + v, sums * -INT8_OFFSET);
  }
}

/* All channels, each of which sees one only, by `wanted` tasks or more. */
static void convolveRows(const Conv& c, int32_t wanted) {
  const ConvSizes& s = c.s;
  const int32_t planes = s.batch * s.outChannels;
  int32_t stripRows = ceilDivide(s.outHeight, ceilDivide(wanted, planes));
  while (rowsSeen(s, stripRows) > MAX_ROWS) stripRows = ceilDivide(stripRows, 2);
  const int32_t strips = ceilDivide(s.outHeight, stripRows);
  const int32_t all = planes * strips, together = ceilDivide(all, wanted);
  const bool shared = s.kernelHeight == 3 && s.kernelWidth == 3 && s.strideHeight * s.dilationHeight == 1 &&
                      s.strideWidth == 1;
  parallelFor(ceilDivide(all, together), [&](int32_t task) {
    SinglesScratch& scratch = (SinglesScratch&)scratchHere<Blocks>();
    __builtin_memset(scratch.zeros, 0, s.inWidth + READ_BYTES);
    placeColumns(s, shared, scratch.places);
    const int32_t steps = s.kernelHeight * rowWords(s);
    const int32_t from = task * together, stop = from + together < all ? from + together : all;
    int32_t tile = -1;
    for (int32_t i = from; i < stop; i++) {
      const int32_t plane = i / strips, channel = plane % s.outChannels, row = i % strips * stripRows;
      const int32_t rows = s.outHeight - row < stripRows ? s.outHeight - row : stripRows;
      const int32_t place = channel % 16;
      const uint8_t* x = c.x + plane / s.outChannels * c.in.sample + channel / c.outGroup * c.in.plane;
      const bool negative = listRows(c, x, row * s.strideHeight - s.paddingHeight, rows, scratch);
      if (channel / 16 != tile) layKernels(c, tile = channel / 16, scratch);
      for (int32_t k = 0; k < steps; k++) scratch.w[k] = splat(scratch.kernels[k][place]);
      const Channel described = {*c.xScale * c.wScale[channel], c.bias ? c.bias[channel] : 0,
                                 scratch.starts[place], nullptr};
      const SingleRows given = {s.strideHeight, s.dilationHeight, s.kernelHeight,
                                rowWords(s),    described,        c.range};
      uint8_t* y = c.y + plane * c.out.plane + row * c.out.row;
      const auto multiply = [&](auto* images) { images(given, scratch, s.outWidth, rows, y); };
      if (!HAS_MAGNITUDES || negative) multiply(multiplyImage<false, 0, false>);
      else if (shared) multiply(multiplyImage<true, 3, true>);
      else if (steps != 3 || s.kernelHeight != 3) multiply(multiplyImage<true, 0, false>);
      else multiply(multiplyImage<true, 3, false>);
    }
  });
}
#endif

}  // namespace LOWBIT_ISA
