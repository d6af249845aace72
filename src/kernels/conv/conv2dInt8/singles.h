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

/*
 * Bytes of the rows of an image that are kept at once; how many small images are, and their bytes; words of a
 * kernel.
 */
constexpr int32_t IMAGE_BYTES = 1 << 15, MOST_IMAGES = 16, IMAGES_BYTES = 1 << 13, MAX_KERNEL_WORDS = 64;

struct SinglesScratch {
  /* Rows with their borders of zeros; a vector reads past the last. */
  alignas(64) uint8_t images[IMAGE_BYTES + 64];
  /* The kernels of 16 channels as words of their rows, INT8_OFFSET times their sums; the words of one. */
  alignas(64) uint32_t kernels[MAX_KERNEL_WORDS][16];
  alignas(64) int32_t starts[16];
  alignas(64) u32v w[MAX_KERNEL_WORDS];
  int32_t offsets[MAX_KERNEL_WORDS];
};

/* How an image [height, width] lies in scratch: rows with their borders, several of which make a strip. */
struct Image {
  int32_t rowBytes, wordsPerRow, stripRows;

  /* Of a strip, with room for rows that are computed and not stored. */
  int32_t bytes(const ConvSizes& s) const {
    const int32_t last = (roundUp(stripRows, 4) - 1) * s.strideHeight;
    return (last + (s.kernelHeight - 1) * s.dilationHeight + 1) * rowBytes;
  }

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

/*
 * Copies `rows` rows of a plane from `first` on; whether a byte is negative. Where there are none it writes
 * `zeros`, unless they have not been overwritten.
 */
static bool fillImage(const uint8_t* plane, const ConvSizes& s, const Image& image, int32_t first,
                      int32_t rows, bool zeros, uint8_t* to) {
  typedef uint64_t words2 __attribute__((vector_size(16)));
  words2 all = {};
  uint64_t others = 0;
  to += s.paddingWidth;
  for (int32_t row = first; row < first + rows; row++, to += image.rowBytes) {
    if (row < 0 || row >= s.inHeight) {
      if (zeros) __builtin_memset(to, 0, s.inWidth);
      continue;
    }
    const uint8_t* from = plane + (size_t)row * s.inWidth;
    const auto copy = [&](auto bytes) {
      others |= bytes;
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
  return ((all[0] | all[1] | others) & EACH_BYTE << 7) != 0;
}

/* The words of the outputs whose first begins at `x`; if they are `near`, 16 bytes hold all. */
template <bool near> INLINE u32v wordsOf(const uint8_t* x, int32_t step, u32v order) {
  const __m128i first = loadAs<__m128i>(x), second = near ? first : loadAs<__m128i>(x + 4 * step);
  const __m256i bytes = near ? _mm256_broadcastsi128_si256(first)
                             : _mm256_inserti128_si256(_mm256_castsi128_si256(first), second, 1);
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
 * Where outputs move by one pixel of 3 × 3, both rows share what they read.
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
        const u32v pixels = wordsOf<true>(x + i * c.rowBytes + v * second, 1, c.order);
        if (i < known) add(dots[0][v], pixels, scratch.w[i]);
        if (i > 0) add(dots[1][v], pixels, scratch.w[i - 1]);
      }
    }
  } else {
#pragma GCC unroll 4
    for (int32_t i = 0; i < (known ? known : c.steps); i++) {
      for (int v = 0; v < 4; v++) {
        const uint8_t* from = x + scratch.offsets[i] + v / 2 * c.down + v % 2 * second;
        add(dots[v / 2][v % 2], wordsOf<false>(from, c.step, c.order), scratch.w[i]);
      }
    }
  }
  const __m256i first = wholeValues(dots[0], c.channel, c.range);
  return pairCodes(first, wholeValues(dots[1], c.channel, c.range), c.range);
}

/*
 * So many rows of outputs of a plane, out of the strip at x. A short row is written past its end, where the
 * next one will be.
 */
template <bool codes, int known, bool shared>
OUTLINE void multiplyImage(const SingleRows& given, const SinglesScratch& scratch, int32_t width,
                           int32_t rows, uint8_t* y) {
  const SingleRows c = given;
  const uint8_t *x = c.x, *end = y + rows * width;
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
  for (int32_t r = 0; r < rows; r += below ? 4 : 2, x += below ? 4 * c.down : 2 * c.down) {
    const __m256i both = multiplySingle<codes, known, shared>(c, scratch, x, below ? 2 * c.down : 8 * c.step);
    const __m128i first = _mm256_castsi256_si128(both), second = _mm256_extracti128_si256(both, 1);
    const auto place = [&](__m128i values) {
      if (y + TILE_PIXELS <= end) storeAs(y, values);
      else if (y < end) storeCodes(values, width, y);
      y += width;
    };
    place(first);
    place(second);
    if (!below) continue;
    place(_mm_unpackhi_epi64(first, first));
    place(_mm_unpackhi_epi64(second, second));
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

/* Where the pixels of a kernel's words are; returns how many words. */
static int32_t placeKernel(const ConvSizes& s, const Image& image, int32_t* offsets) {
  int32_t steps = 0;
  for (int32_t i = 0; i < s.kernelHeight; i++)
    for (int32_t j = 0; j < s.kernelWidth; j += 4)
      offsets[steps++] = i * s.dilationHeight * image.rowBytes + j;
  return steps;
}

/*
 * All channels, each of which sees one only, by `wanted` tasks or more. Several images are copied before the
 * first is multiplied: one alone would wait for what it has just written.
 */
static void convolveRows(const Conv& c, Image image, int32_t wanted) {
  const ConvSizes& s = c.s;
  const int32_t planes = s.batch * s.outChannels, most = ceilDivide(s.outHeight, ceilDivide(wanted, planes));
  if (image.stripRows > most) image.stripRows = most;
  const int32_t strips = ceilDivide(s.outHeight, image.stripRows), bytes = image.bytes(s);
  const int32_t fitting = IMAGES_BYTES / bytes;
  const int32_t ahead = fitting < 1 ? 1 : fitting < MOST_IMAGES ? fitting : MOST_IMAGES;
  const int32_t all = planes * strips, together = ceilDivide(all, wanted);
  const bool shared = s.kernelHeight == 3 && s.kernelWidth == 3 && s.strideHeight * s.dilationHeight == 1 &&
                      s.strideWidth == 1;
  parallelFor(ceilDivide(all, together), [&](int32_t task) {
    SinglesScratch& scratch = (SinglesScratch&)scratchHere<Blocks>();
    __builtin_memset(scratch.images, 0, bytes * ahead + 64);
    const int32_t steps = placeKernel(s, image, scratch.offsets);
    const u32v words = {0, 1, 2, 3, 0, 1, 2, 3}, near = {0, 1, 2, 3, 4, 5, 6, 7};
    const u32v order = words * (uint32_t)s.strideWidth * (uint32_t)EACH_BYTE + 0x03020100u;
    const u32v nearOrder = near * (uint32_t)EACH_BYTE + 0x03020100u;
    const int32_t from = task * together, stop = from + together < all ? from + together : all;
    const auto rowOf = [&](int32_t i) { return i % strips * image.stripRows; };
    const auto rowsOf = [&](int32_t row) {
      return s.outHeight - row < image.stripRows ? s.outHeight - row : image.stripRows;
    };
    int32_t tile = -1;
    for (int32_t first = from; first < stop; first += ahead) {
      const int32_t some = stop - first < ahead ? stop - first : ahead;
      bool negative[MOST_IMAGES];
      for (int32_t j = 0; j < some; j++) {
        const int32_t i = first + j, plane = i / strips, channel = plane % s.outChannels, row = rowOf(i);
        const uint8_t* x = c.x + plane / s.outChannels * c.in.sample + channel / c.outGroup * c.in.plane;
        const int32_t reach = (s.kernelHeight - 1) * s.dilationHeight + 1;
        const int32_t inRows = (rowsOf(row) - 1) * s.strideHeight + reach;
        negative[j] = fillImage(x, s, image, row * s.strideHeight - s.paddingHeight, inRows, strips > 1,
                                scratch.images + j * bytes);
      }
      for (int32_t j = 0; j < some; j++) {
        const int32_t i = first + j, plane = i / strips, channel = plane % s.outChannels, row = rowOf(i);
        const int32_t place = channel % 16;
        if (channel / 16 != tile) layKernels(c, tile = channel / 16, scratch);
        for (int32_t k = 0; k < steps; k++) scratch.w[k] = splat(scratch.kernels[k][place]);
        const Channel described = {*c.xScale * c.wScale[channel], c.bias ? c.bias[channel] : 0,
                                   scratch.starts[place], nullptr};
        const bool sharing = shared && HAS_MAGNITUDES && !negative[j];
        const SingleRows rows = {scratch.images + j * bytes, s.strideWidth, image.rowBytes,
                                 s.strideHeight * image.rowBytes, steps, sharing ? nearOrder : order,
                                 described, c.range};
        uint8_t* y = c.y + plane * c.out.plane + row * c.out.row;
        const auto multiply = [&](auto* images) { images(rows, scratch, s.outWidth, rowsOf(row), y); };
        if (sharing) multiply(multiplyImage<true, 3, true>);
        else if (!HAS_MAGNITUDES || negative[j]) multiply(multiplyImage<false, 0, false>);
        else if (steps != 3) multiply(multiplyImage<true, 0, false>);
        else multiply(multiplyImage<true, 3, false>);
      }
    }
  });
}
#endif

}  // namespace LOWBIT_ISA
