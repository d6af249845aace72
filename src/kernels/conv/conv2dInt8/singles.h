#pragma once
#include "tile.h"

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
/* Sums of a channel before they become values: they stay in the first-level cache. Of wide rows, of two. */
constexpr int32_t RUN_SUMS = 1 << 11, MAX_SUMS = 2 * LANES * MAX_PLACES, MAX_WAITING = 32;

/* Where in a row the bytes of the first and the second four words of a vector lie, and which are theirs. */
struct Place {
  u32v order;
  int32_t first, second;
};

/* Sums of a channel that are to become values. */
struct WaitingSums {
  Channel channel;
  const int32_t* sums;
  int32_t count;
  uint8_t* to;
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
  alignas(64) int32_t sums[MAX_SUMS + LINE_STEP];
  WaitingSums waiting[MAX_WAITING];
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

/* Of the rows that a strip of outputs sees, those in the image: in the list, and where in their plane. */
struct RowsSeen {
  int32_t begin, end;
  size_t at, bytes;
};

/* Lists the rows of a plane that `rows` rows of outputs see, from the row `first` on. */
static RowsSeen listRows(const Conv& c, const uint8_t* plane, int32_t first, int32_t rows,
                         SinglesScratch& scratch) {
  const int32_t width = c.s.inWidth, count = rowsSeen(c.s, rows);
  const int32_t begin = first >= 0 ? 0 : -first < count ? -first : count;
  const int32_t beyond = c.s.inHeight - first;
  const int32_t end = beyond < begin ? begin : beyond < count ? beyond : count;
  const size_t at = (first + begin) * (size_t)width, bytes = (end - begin) * (size_t)width;
  for (int32_t i = 0; i < count; i++)
    scratch.rows[i] = i < begin || i >= end ? scratch.zeros : plane + at + (i - begin) * (size_t)width;
  /* Nothing is read behind the last row of all. */
  for (int32_t i = end - 1; i >= begin && c.xEnd - scratch.rows[i] < READ_BYTES; i--)
    scratch.rows[i] = (uint8_t*)__builtin_memcpy(scratch.ends[i % READ_BYTES], scratch.rows[i], width);
  return {begin, end, at, bytes};
}

/* The words of a vector of outputs; if they are `near`, the first bytes hold all. */
template <bool near> INLINE u32v wordsOf(const uint8_t* row, const Place& place) {
  const __m128i first = loadAs<__m128i>(row + place.first);
  const __m256i bytes = near ? _mm256_broadcastsi128_si256(first)
                             : _mm256_inserti128_si256(_mm256_castsi128_si256(first),
                                                       loadAs<__m128i>(row + place.second), 1);
  return (u32v)_mm256_shuffle_epi8(bytes, (__m256i)place.order);
}

/* What sums of rows of a channel are computed from. */
struct SingleRows {
  /* Rows from an output's first row to that of the next, and from one of the kernel to the next. */
  int32_t down, dilation;
  int32_t height, words; /* of the kernel */
  int32_t start;
};

/*
 * Sums of two vectors of outputs of a row and of the next, out of the rows from `first` and `second` on.
 * Where outputs move by one pixel of 3 × 3, both rows share what they read.
 */
template <bool codes, int known, bool shared>
INLINE void multiplySingle(const SingleRows& c, const SinglesScratch& scratch, const uint8_t* const* first,
                           const uint8_t* const* second, const Place* firstPlace, const Place* secondPlace,
                           i32v (&dots)[2][2]) {
  for (int v = 0; v < 4; v++) dots[v / 2][v % 2] = splat(INT8_OFFSET ? c.start : 0);
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
}

/*
 * Sums of so many rows of outputs, each behind the one before; what a vector has beyond the end of its row
 * the next row overwrites.
 */
template <bool codes, int known, bool shared>
OUTLINE void multiplyRows(const SingleRows& given, const SinglesScratch& scratch, const uint8_t* const* x,
                          int32_t width, int32_t rows, int32_t* sums) {
  const SingleRows c = given;
  /* The second vectors are beside the first, or two rows further down. */
  const bool below = width <= LANES;
  const int32_t step = below ? 4 : 2;
  const int32_t secondRow = below ? 2 : 0, secondPlace = below ? 0 : c.words;
  for (int32_t r = 0; r < rows; r += step, x += step * c.down, sums += step * width) {
    const Place* place = scratch.places;
    for (int32_t i = 0; i < width; i += TILE_PIXELS, place += 2 * c.words) {
      const int32_t at = i > 0 && i + TILE_PIXELS > width ? width - TILE_PIXELS : i;
      i32v dots[2][2];
      multiplySingle<codes, known, shared>(c, scratch, x, x + secondRow * c.down, place, place + secondPlace,
                                           dots);
      int32_t* to = sums + at;
      store(to, dots[0][0]);
      if (!below) store(to + LANES, dots[0][1]);
      store(to + width, dots[1][0]);
      store(to + (below ? 2 * width : width + LANES), dots[below ? 0 : 1][1]);
      if (below) store(to + 3 * width, dots[1][1]);
    }
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
  /* Rows are multiplied by twos or fours. */
  const int32_t runRows = s.outWidth <= RUN_SUMS / 4 ? RUN_SUMS / s.outWidth / 4 * 4 : 2;
  const bool shared = s.kernelHeight == 3 && s.kernelWidth == 3 && s.strideHeight * s.dilationHeight == 1 &&
                      s.strideWidth == 1;
  parallelFor(ceilDivide(all, together), [&](int32_t task) {
    SinglesScratch& scratch = (SinglesScratch&)scratchHere<Blocks>();
    __builtin_memset(scratch.zeros, 0, s.inWidth + READ_BYTES);
    placeColumns(s, shared, scratch.places);
    const int32_t steps = s.kernelHeight * rowWords(s);
    const int32_t from = task * together, stop = from + together < all ? from + together : all;
    int32_t tile = -1, waiting = 0, used = 0;
    const CodeLimits limits(c.range);
    /* Behind a channel its sums are the next one's, which may be written over. */
    const auto finish = [&](const uint8_t* end) {
      for (int32_t i = 0; i < waiting; i++) {
        const WaitingSums& some = scratch.waiting[i];
        finishCodes(some.channel, limits, some.sums, TILE_PIXELS, some.count, some.to, end - some.to);
      }
      waiting = used = 0;
    };
    int32_t strip = from % strips, plane = from / strips, channel = plane % s.outChannels;
    int32_t member = channel % c.outGroup;
    RowsSeen seen = {};
    const uint8_t* x = c.x + plane / c.outGroup * c.in.plane;
    uint8_t* y = c.to.codes + plane * c.out.plane + strip * stripRows * c.out.row;
    for (int32_t i = from; i < stop; i++) {
      const int32_t row = strip * stripRows, left = s.outHeight - row;
      const int32_t rows = left < stripRows ? left : stripRows;
      const int32_t place = channel % 16;
      /* The next plane's rows lie as far behind this one's. */
      if (i > from && strips == 1 && c.xEnd - x >= (ptrdiff_t)(c.in.plane + READ_BYTES))
        for (int32_t k = seen.begin; k < seen.end; k++) scratch.rows[k] += member == 0 ? c.in.plane : 0;
      else seen = listRows(c, x, row * s.strideHeight - s.paddingHeight, rows, scratch);
      const bool negative = anyNegative(x + seen.at, seen.bytes);
      if (channel / 16 != tile) layKernels(c, tile = channel / 16, scratch);
      for (int32_t k = 0; k < steps; k++) scratch.w[k] = splat(scratch.kernels[k][place]);
      const Channel described = {*c.xScale * c.wScale[channel], c.bias ? c.bias[channel] : 0, 0, nullptr};
      const SingleRows given = {s.strideHeight, s.dilationHeight, s.kernelHeight, rowWords(s),
                                scratch.starts[place]};
      const auto multiply = [&](auto* multiplied) {
        for (int32_t r = 0; r < rows; r += runRows) {
          const int32_t some = rows - r < runRows ? rows - r : runRows, room = roundUp(some, 4) * s.outWidth;
          if (waiting == MAX_WAITING || used + room > RUN_SUMS) finish(y);
          multiplied(given, scratch, scratch.rows + r * s.strideHeight, s.outWidth, some,
                     scratch.sums + used);
          scratch.waiting[waiting++] = {described, scratch.sums + used, some * s.outWidth, y};
          used += roundUp(room, LANES);
          y += some * s.outWidth;
        }
      };
      if (!HAS_MAGNITUDES || negative) multiply(multiplyRows<false, 0, false>);
      else if (shared) multiply(multiplyRows<true, 3, true>);
      else if (steps != 3 || s.kernelHeight != 3) multiply(multiplyRows<true, 0, false>);
      else multiply(multiplyRows<true, 3, false>);
      if (++strip < strips) continue;
      strip = 0;
      if (++channel == s.outChannels) channel = 0;
      if (++member == c.outGroup) member = 0, x += c.in.plane;
    }
    finish(y);
  });
}
#endif

}  // namespace LOWBIT_ISA
