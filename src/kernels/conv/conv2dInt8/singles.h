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
 * and meets as many weights of a row of the kernel.
 */

namespace LOWBIT_ISA {

#if LANES == 8

/* Bytes of the rows of an image that are kept at once, and words of a kernel. */
constexpr int32_t IMAGE_BYTES = 1 << 15, MAX_KERNEL_WORDS = 64;

struct SinglesScratch {
  /* Rows with their borders of zeros; a vector reads past the last. */
  alignas(64) uint8_t image[IMAGE_BYTES + 64];
  alignas(64) uint8_t codes[IMAGE_BYTES + 64];
  alignas(64) u32v w[MAX_KERNEL_WORDS];
  int32_t offsets[MAX_KERNEL_WORDS];
};

/* How an image [height, width] lies in scratch: rows with their borders, several of which make a strip. */
struct Image {
  int32_t rowBytes, wordsPerRow, stripRows;

  Image(const ConvSizes& s) {
    wordsPerRow = ceilDivide(s.kernelWidth, 4);
    /* The last vector of a row begins at a multiple of a tile, or ends with the row. */
    const int32_t outputs = s.outWidth < TILE_PIXELS ? TILE_PIXELS : s.outWidth;
    rowBytes = (outputs - 1) * s.strideWidth + 4 * wordsPerRow;
    if (rowBytes < s.paddingWidth + s.inWidth) rowBytes = s.paddingWidth + s.inWidth;
    /* Rows are computed by fours: there is room for those that are not stored. */
    const int32_t rows = IMAGE_BYTES / rowBytes - (s.kernelHeight - 1) * s.dilationHeight - 1;
    stripRows = rows < 0 ? 0 : (rows / s.strideHeight + 1) / 4 * 4;
    if (stripRows > s.outHeight) stripRows = s.outHeight;
  }
};

/* Whether a convolution whose groups have one channel is computed so. */
INLINE bool readsRows(const ConvSizes& s, const Image& image) {
  const int32_t words = s.kernelHeight * image.wordsPerRow;
  return s.strideWidth <= 4 && s.dilationWidth == 1 && words <= MAX_KERNEL_WORDS && image.stripRows > 0;
}

/* Copies `rows` rows of a plane from `first` on, zeros where there are none; whether a byte is negative. */
static bool fillImage(const uint8_t* plane, const ConvSizes& s, const Image& image, int32_t first,
                      int32_t rows, uint8_t* to) {
  typedef uint64_t words2 __attribute__((vector_size(16)));
  words2 all = {};
  to += s.paddingWidth;
  for (int32_t row = first; row < first + rows; row++, to += image.rowBytes) {
    if (row < 0 || row >= s.inHeight) {
      __builtin_memset(to, 0, s.inWidth);
      continue;
    }
    const uint8_t* from = plane + (size_t)row * s.inWidth;
    const auto copy = [&](auto bytes) {
      all[0] |= bytes;
      return bytes;
    };
    const int32_t n = s.inWidth;
    if (n >= 16) {
      for (int32_t i = 0; i < n; i += 16) {
        const int32_t at = i + 16 <= n ? i : n - 16;
        const words2 bytes = loadAs<words2>(from + at);
        all |= bytes;
        storeAs(to + at, bytes);
      }
    } else if (n >= 8) {
      storeAs(to, copy(loadAs<uint64_t>(from)));
      storeAs(to + n - 8, copy(loadAs<uint64_t>(from + n - 8)));
    } else if (n >= 4) {
      storeAs(to, (uint32_t)copy(loadAs<uint32_t>(from)));
      storeAs(to + n - 4, (uint32_t)copy(loadAs<uint32_t>(from + n - 4)));
    } else {
      for (int32_t i = 0; i < n; i++) to[i] = (uint8_t)copy(from[i]);
    }
  }
  return ((all[0] | all[1]) & EACH_BYTE << 7) != 0;
}

/* The words of the outputs whose first begins at `x`. */
INLINE u32v wordsOf(const uint8_t* x, int32_t step, u32v order) {
  const __m256i bytes =
      _mm256_inserti128_si256(_mm256_castsi128_si256(loadAs<__m128i>(x)), loadAs<__m128i>(x + 4 * step), 1);
  return (u32v)_mm256_shuffle_epi8(bytes, (__m256i)order);
}

/* What rows of a channel are computed from. */
struct SingleRows {
  const uint8_t* x;
  /* Bytes from word to word, from row to row, and from an output's first row to that of the next. */
  int32_t step, rowBytes, down;
  int32_t steps;
  u32v order;
  Channel channel;
  CodeLimits range;
};

/*
 * Two vectors of outputs of a row and of the next, the second of which is `second` bytes from the first.
 * Where outputs move by one row of three, both rows share what they read.
 */
template <bool codes, int known, bool shared>
INLINE __m256i multiplySingle(const SingleRows& c, const SinglesScratch& scratch, const uint8_t* x,
                              int32_t second) {
  i32v dots[2][2];
  for (int v = 0; v < 4; v++) dots[v / 2][v % 2] = splat(c.channel.start);
  const auto add = [&](i32v& sums, u32v pixels, u32v w) {
    sums = codes ? dotCodes(sums, pixels, w)
                 : dotInt8(sums, pixels ^ splat((uint32_t)INT8_OFFSET * (uint32_t)EACH_BYTE), w);
  };
  if constexpr (shared) {
#pragma GCC unroll 4
    for (int i = 0; i <= known; i++) {
      for (int v = 0; v < 2; v++) {
        const u32v pixels = wordsOf(x + i * c.rowBytes + v * second, c.step, c.order);
        if (i < known) add(dots[0][v], pixels, scratch.w[i]);
        if (i > 0) add(dots[1][v], pixels, scratch.w[i - 1]);
      }
    }
  } else {
#pragma GCC unroll 4
    for (int32_t i = 0; i < (known ? known : c.steps); i++) {
      for (int v = 0; v < 4; v++) {
        const uint8_t* from = x + scratch.offsets[i] + v / 2 * c.down + v % 2 * second;
        add(dots[v / 2][v % 2], wordsOf(from, c.step, c.order), scratch.w[i]);
      }
    }
  }
  const __m256i first = wholeValues(dots[0], c.channel, c.range);
  return pairCodes(first, wholeValues(dots[1], c.channel, c.range), c.range);
}

/*
 * So many rows of outputs of a plane, out of the strip that is in scratch. Short rows are written one over
 * the end of the other, and copied together.
 */
template <bool codes, int known, bool shared>
OUTLINE void multiplyImage(const SingleRows& given, int32_t width, int32_t rows, SinglesScratch& scratch,
                           uint8_t* y) {
  const SingleRows c = given;
  const uint8_t* x = scratch.image;
  if (width >= TILE_PIXELS) {
    for (int32_t r = 0; r < rows; r += 2, x += 2 * c.down, y += 2 * width) {
      for (int32_t i = 0; i < width; i += TILE_PIXELS) {
        const int32_t at = i + TILE_PIXELS > width ? width - TILE_PIXELS : i;
        const __m256i both = multiplySingle<codes, known, shared>(c, scratch, x + at * c.step, 8 * c.step);
        storeAs(y + at, _mm256_castsi256_si128(both));
        if (r + 1 < rows) storeAs(y + width + at, _mm256_extracti128_si256(both, 1));
      }
    }
    return;
  }
  /* The second vectors are beside the first, or two rows further down. */
  const bool below = width <= LANES;
  uint8_t* to = scratch.codes;
  for (int32_t r = 0; r < rows; r += below ? 4 : 2, x += below ? 4 * c.down : 2 * c.down) {
    const __m256i both = multiplySingle<codes, known, shared>(c, scratch, x, below ? 2 * c.down : 8 * c.step);
    if (!below) {
      storeAs(to, _mm256_castsi256_si128(both));
      storeAs(to + width, _mm256_extracti128_si256(both, 1));
      to += 2 * width;
      continue;
    }
    typedef int64_t words4 __attribute__((vector_size(32)));
    const words4 fours = (words4)both;
    storeAs(to, fours[0]);
    storeAs(to + width, fours[2]);
    storeAs(to + 2 * width, fours[1]);
    storeAs(to + 3 * width, fours[3]);
    to += 4 * width;
  }
  placeBytes(scratch.codes, rows * width, y);
}

/* The weights of a channel as words of a row of the kernel, and where their pixels are; returns how many. */
static int32_t layKernel(const Conv& c, const Image& image, int32_t channel, SinglesScratch& scratch,
                         Channel& described) {
  const ConvSizes& s = c.s;
  const uint8_t* w = c.w + ((size_t)channel / 16 * c.wordsPerRow * 16 + channel % 16) * 4;
  int32_t steps = 0, sum = 0;
  for (int32_t i = 0; i < s.kernelHeight; i++) {
    for (int32_t j = 0; j < s.kernelWidth; j += 4) {
      uint32_t word = 0;
      for (int32_t k = j; k < j + 4 && k < s.kernelWidth; k++) {
        const uint8_t byte = w[(k * c.quads + i / 4) * 64 + i % 4];
        word |= (uint32_t)byte << 8 * (k - j);
        sum += (int8_t)byte;
      }
      scratch.offsets[steps] = i * s.dilationHeight * image.rowBytes + j;
      scratch.w[steps++] = splat(word);
    }
  }
  described = {*c.xScale * c.wScale[channel], c.bias ? c.bias[channel] : 0, -INT8_OFFSET * sum, nullptr};
  return steps;
}

/* All channels, each of which sees one only, by `wanted` tasks or more. */
static void convolveRows(const Conv& c, Image image, int32_t wanted) {
  const ConvSizes& s = c.s;
  const int32_t planes = s.batch * s.outChannels, most = ceilDivide(s.outHeight, ceilDivide(wanted, planes));
  if (image.stripRows > most) image.stripRows = most;
  const int32_t strips = ceilDivide(s.outHeight, image.stripRows);
  const int32_t together = ceilDivide((int64_t)planes * strips, wanted);
  parallelFor(ceilDivide((int64_t)planes * strips, together), [&](int32_t task) {
    SinglesScratch& scratch = (SinglesScratch&)scratchHere<Blocks>();
    __builtin_memset(scratch.image, 0, sizeof scratch.image);
    const u32v words = {0, 1, 2, 3, 0, 1, 2, 3};
    const u32v order = words * (uint32_t)s.strideWidth * (uint32_t)EACH_BYTE + 0x03020100u;
    const int64_t first = (int64_t)task * together, end = first + together;
    for (int64_t i = first; i < end && i < (int64_t)planes * strips; i++) {
      const int32_t plane = i / strips, channel = plane % s.outChannels, row = i % strips * image.stripRows;
      const int32_t rows = s.outHeight - row < image.stripRows ? s.outHeight - row : image.stripRows;
      Channel described;
      const int32_t steps = layKernel(c, image, channel, scratch, described);
      const uint8_t* x = c.x + plane / s.outChannels * c.in.sample + channel / c.outGroup * c.in.plane;
      const int32_t inRows = (rows - 1) * s.strideHeight + (s.kernelHeight - 1) * s.dilationHeight + 1;
      const bool negative =
          fillImage(x, s, image, row * s.strideHeight - s.paddingHeight, inRows, scratch.image);
      uint8_t* y = c.y + plane * c.out.plane + row * c.out.row;
      const SingleRows from = {scratch.image, s.strideWidth, image.rowBytes, s.strideHeight * image.rowBytes,
                               steps, order, described, c.range};
      if (!HAS_MAGNITUDES || negative) multiplyImage<false, 0, false>(from, s.outWidth, rows, scratch, y);
      else if (steps != 3) multiplyImage<true, 0, false>(from, s.outWidth, rows, scratch, y);
      else if (s.kernelHeight == 3 && s.strideHeight * s.dilationHeight == 1)
        multiplyImage<true, 3, true>(from, s.outWidth, rows, scratch, y);
      else multiplyImage<true, 3, false>(from, s.outWidth, rows, scratch, y);
    }
  });
}
#endif

}  // namespace LOWBIT_ISA
