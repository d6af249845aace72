// Replays the cases that native/sanitize.mjs recorded, through the queue and the pool: a program of its own,
// so that the sanitizers see every access. Each array is a block of exactly its size.
//
// The file is float64 words and byte strings padded to 8. A case is
//   [name bytes, kernel id, arguments] name, then per argument
//   [0, value]                                                        a scalar or an absent array
//   [1, bytes] content                                                an array that is read
//   [2, bytes, is f32, bounds] content, expected content, bounds      an array that is written; no bounds: equal bits; else as many
//                                                                     float64 as values, or one for all
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "queue.h"

namespace LOWBIT_ISA { size_t run(const double* words, size_t count); }

namespace {

using Bytes = std::vector<uint8_t>;

struct Output {
  const Bytes* actual;
  bool isFloat;
  Bytes expected;
  Bytes bounds;
};

template <class T>
T valueAt(const Bytes& bytes, size_t index) {
  T value;
  memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

/* What is no float32 has equal bits, but where anything may stand: an infinite bound says so. */
bool equalWhereBound(const Output& output, size_t bounds) {
  if (bounds == 0) return *output.actual == output.expected;
  const size_t width = output.expected.size() / bounds;
  for (size_t i = 0; i < bounds; i++) {
    if (isinf(valueAt<double>(output.bounds, i))) continue;
    if (memcmp(output.actual->data() + i * width, output.expected.data() + i * width, width) != 0) return false;
  }
  return true;
}

bool agrees(const Output& output) {
  const size_t bounds = output.bounds.size() / 8;
  if (!output.isFloat) return equalWhereBound(output, bounds);
  for (size_t i = 0; i < output.expected.size() / 4; i++) {
    const float actual = valueAt<float>(*output.actual, i);
    const float expected = valueAt<float>(output.expected, i);
    if (isnan(actual) && isnan(expected)) continue;
    if (memcmp(&actual, &expected, 4) == 0) continue;
    if (bounds == 0 ||
        !(fabs((double)actual - expected) <= valueAt<double>(output.bounds, bounds == 1 ? 0 : i)))
      return false;
  }
  return true;
}

class Reader {
 public:
  explicit Reader(const char* path) : file_(fopen(path, "rb")) {}
  ~Reader() {
    if (file_) fclose(file_);
  }
  bool next(double* words, size_t count) { return file_ && fread(words, 8, count, file_) == count; }
  Bytes bytes(double count) {
    Bytes content((size_t)count);
    uint8_t padding[8];
    const size_t rest = (8 - content.size() % 8) % 8;
    if (fread(content.data(), 1, content.size(), file_) + fread(padding, 1, rest, file_) !=
        content.size() + rest)
      content.clear();
    return content;
  }

 private:
  FILE* file_;
};

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) return fprintf(stderr, "usage: driver CASES THREADS\n"), 2;
  Reader reader(arguments[1]);
  lowbit::Queue queue(LOWBIT_ISA::run, atoi(arguments[2]));
  int cases = 0;
  int failures = 0;
  for (double head[3]; reader.next(head, 3); cases++) {
    const Bytes name = reader.bytes(head[0]);
    std::deque<Bytes> arrays;
    std::vector<Output> outputs;
    std::vector<double> words = {head[1]};
    for (int argument = 0; argument < head[2]; argument++) {
      double kind[2];
      double rest[2] = {};
      if (!reader.next(kind, 2) || (kind[0] == 2 && !reader.next(rest, 2))) {
        return fprintf(stderr, "driver: the file ends inside a case\n"), 2;
      }
      if (kind[0] == 0) {
        words.push_back(kind[1]);
        continue;
      }
      arrays.push_back(reader.bytes(kind[1]));
      words.push_back((double)(uintptr_t)arrays.back().data());
      if (kind[0] == 2) {
        Bytes expected = reader.bytes(kind[1]);
        outputs.push_back({&arrays.back(), rest[0] == 1, std::move(expected), reader.bytes(8 * rest[1])});
      }
    }
    queue.run(words.data(), words.size(), -1, 0);
    std::mutex mutex;
    std::condition_variable done;
    bool finished = false;
    std::string failure;
    queue.read(nullptr, nullptr, 0, [&](const std::string& reason) {
      std::lock_guard<std::mutex> lock(mutex);
      failure = reason;
      finished = true;
      done.notify_one();
    });
    std::unique_lock<std::mutex> lock(mutex);
    done.wait(lock, [&] { return finished; });
    if (failure.empty() && std::all_of(outputs.begin(), outputs.end(), agrees)) continue;
    failures++;
    fprintf(stderr, "%.*s: %s\n", (int)name.size(), (const char*)name.data(),
            failure.empty() ? "out of tolerance" : failure.c_str());
  }
  printf("%d cases, %d failures\n", cases, failures);
  return failures > 0 || cases == 0;
}
