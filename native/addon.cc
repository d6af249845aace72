// The Node addon: queues (queue.h) for JavaScript. src/devices/cpu/native.ts is its only caller and has the
// arguments right.
#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif
#include <node_api.h>

#include <cstring>
#include <iterator>
#include <memory>
#include <stdexcept>

#include "cpu.h"
#include "queue.h"

// The instruction sets, best first: one translation unit each. The build says which are compiled in
// (LOWBIT_HAS_…).
namespace isa_avx512 { size_t run(const double* words, size_t count); }
namespace isa_avxvnni { size_t run(const double* words, size_t count); }
namespace isa_avx2 { size_t run(const double* words, size_t count); }
namespace isa_sse4 { size_t run(const double* words, size_t count); }
namespace isa_neon { size_t run(const double* words, size_t count); }

namespace {

struct InstructionSet {
  const char* name;
  lowbit::RunRecord runRecord;
  bool (*supported)();
};

#if defined(__x86_64__)
const lowbit::Cpu& cpu() {
  static const lowbit::Cpu cpu;
  return cpu;
}
#endif

constexpr InstructionSet kInstructionSets[] = {
#ifdef LOWBIT_HAS_AVX512
    {"avx512", isa_avx512::run, [] { return cpu().avx512; }},
#endif
#ifdef LOWBIT_HAS_AVXVNNI
    {"avxvnni", isa_avxvnni::run, [] { return cpu().avxVnni; }},
#endif
#ifdef LOWBIT_HAS_AVX2
    {"avx2", isa_avx2::run, [] { return cpu().avx2; }},
#endif
#ifdef LOWBIT_HAS_SSE4
    {"sse4", isa_sse4::run, [] { return cpu().sse42; }},
#endif
#ifdef LOWBIT_HAS_NEON
    {"neon", isa_neon::run, [] { return true; }},
#endif
};

// What a read leaves for the JavaScript thread.
struct Completion {
  napi_deferred deferred;
  napi_ref target;
  std::string failure;
};

// A queue as JavaScript holds it: what open returns and the other functions take first.
struct Handle {
  lowbit::Queue queue;
  napi_threadsafe_function wake = nullptr;
  size_t pendingReads = 0;  // only the JavaScript thread touches it
  std::mutex mutex;
  std::vector<Completion> completed;

  Handle(lowbit::RunRecord runRecord, int32_t threads) : queue(runRecord, threads) {}
};

// For what Node-API may refuse to make: a worker that is being terminated goes on to V8's next check, and
// until then gets no promises and no externals. The variables meant for them stay unset and must not reach
// V8.
/*
 * Every handle is asked for with its status: in a worker that is being terminated Node-API refuses to make
 * promises and leaves the output as it was.
 */
void check(napi_status status) {
  if (status != napi_ok) throw std::runtime_error("the environment must be running; it is being torn down");
}

// The arguments of a call, converted.
struct Arguments {
  napi_env env;
  napi_value values[4] = {};

  Arguments(napi_env env, napi_callback_info info) : env(env) {
    size_t count = 4;
    napi_get_cb_info(env, info, &count, values, nullptr, nullptr);
  }
  double number(size_t index) const {
    double value = 0;
    napi_get_value_double(env, values[index], &value);
    return value;
  }
  void* address(size_t index) const { return (void*)(uintptr_t)number(index); }
  Handle& handle() const {
    void* handle = nullptr;
    if (napi_get_value_external(env, values[0], &handle) != napi_ok)
      throw std::invalid_argument("a handle must come from open");
    return *(Handle*)handle;
  }
  std::string text(size_t index) const {
    size_t length = 0;
    napi_get_value_string_utf8(env, values[index], nullptr, 0, &length);
    std::string text(length, '\0');
    napi_get_value_string_utf8(env, values[index], text.data(), length + 1, &length);
    return text;
  }
  // The elements of a typed array and how many there are.
  template <class T>
  std::pair<T*, size_t> array(size_t index) const {
    void* data = nullptr;
    size_t length = 0;
    napi_get_typedarray_info(env, values[index], nullptr, &length, &data, nullptr, nullptr);
    return {(T*)data, length};
  }
};

// isas(): names of the instruction sets that this CPU has, best first.
napi_value isas(const Arguments& args) {
  napi_value names;
  napi_create_array(args.env, &names);
  uint32_t count = 0;
  for (const InstructionSet& set : kInstructionSets) {
    if (!set.supported()) continue;
    napi_value name;
    napi_create_string_utf8(args.env, set.name, NAPI_AUTO_LENGTH, &name);
    napi_set_element(args.env, names, count++, name);
  }
  return names;
}

// On the JavaScript thread: settles the promises of all reads that are done.
void settle(napi_env env, napi_value, void* context, void*) {
  if (!env) return;  // the environment is going away, and its promises with it
  Handle& handle = *(Handle*)context;
  std::vector<Completion> completed;
  {
    std::lock_guard<std::mutex> lock(handle.mutex);
    completed.swap(handle.completed);
  }
  handle.pendingReads -= completed.size();
  if (handle.pendingReads == 0) napi_unref_threadsafe_function(env, handle.wake);
  for (const Completion& read : completed) {
    napi_value failure;
    napi_create_string_utf8(env, read.failure.c_str(), NAPI_AUTO_LENGTH, &failure);
    napi_resolve_deferred(env, read.deferred, failure);
    napi_delete_reference(env, read.target);
  }
}

void stopQueue(void* handle) { ((Handle*)handle)->queue.stop(); }

// open(instruction set, threads): a handle; its queue thread ends at close or with the environment.
napi_value open(const Arguments& args) {
  const napi_env env = args.env;
  char name[16] = "";
  napi_get_value_string_utf8(env, args.values[0], name, sizeof name, nullptr);
  const InstructionSet* set = std::begin(kInstructionSets);
  while (set != std::end(kInstructionSets) && (strcmp(set->name, name) != 0 || !set->supported())) set++;
  if (set == std::end(kInstructionSets))
    throw std::invalid_argument("an instruction set must be one of isas()");

  auto created = std::make_unique<Handle>(set->runRecord, (int32_t)args.number(1));
  Handle* handle = created.get();
  napi_value external;
  check(napi_create_external(env, handle, nullptr, nullptr, &external));
  napi_value label;
  napi_create_string_utf8(env, "lowbit", NAPI_AUTO_LENGTH, &label);
  const auto finalize = [](napi_env, void* data, void*) { delete (Handle*)data; };
  check(napi_create_threadsafe_function(env, nullptr, nullptr, label, 0, 1, handle, finalize, handle, settle,
                                        &handle->wake));
  created.release();  // finalize deletes it
  napi_unref_threadsafe_function(env, handle->wake);
  // Hooks run last in, first out: the queue thread ends before the function it calls goes away, and before
  // any buffer it fills.
  napi_add_env_cleanup_hook(env, stopQueue, handle);
  return external;
}

// close(handle): ends the queue, dropping commands not begun, and frees its blocks; the handle must not be
// used again.
napi_value close(const Arguments& args) {
  Handle& handle = args.handle();
  napi_remove_env_cleanup_hook(args.env, stopQueue, &handle);
  handle.queue.stop();
  napi_release_threadsafe_function(handle.wake, napi_tsfn_abort);
  return nullptr;
}

// allocate(handle, bytes): the address, 0 if the memory is not to be had.
napi_value allocate(const Arguments& args) {
  napi_value address;
  napi_create_double(args.env, (double)(uintptr_t)args.handle().queue.allocate((size_t)args.number(1)),
                     &address);
  return address;
}

// map(handle, path, bytes): the address of memory that is a file.
napi_value map(const Arguments& args) {
  napi_value address;
  const std::string path = args.text(1);
  napi_create_double(args.env, (double)(uintptr_t)args.handle().queue.map(path.c_str(), (size_t)args.number(2)),
                     &address);
  return address;
}

// free(handle, address)
napi_value freeBlock(const Arguments& args) {
  args.handle().queue.free(args.address(1));
  return nullptr;
}

// write(handle, address, bytes)
napi_value write(const Arguments& args) {
  const auto [bytes, count] = args.array<uint8_t>(2);
  args.handle().queue.write(args.address(1), bytes, count);
  return nullptr;
}

// run(handle, list, flag, ticket): a flag in [0, 64), or -1.
napi_value run(const Arguments& args) {
  const auto [words, count] = args.array<double>(1);
  args.handle().queue.run(words, count, (int32_t)args.number(2), (int32_t)args.number(3));
  return nullptr;
}

// raise(handle, flag, ticket): lists that were given the flag with this ticket, or a lower one, stop.
napi_value raise(const Arguments& args) {
  args.handle().queue.raise((int32_t)args.number(1), (int32_t)args.number(2));
  return nullptr;
}

// A promise of '' once the queue has done with the array that is argument 2, or of what failed. start(array,
// count, done) hands it to the queue.
template <class Start>
napi_value promiseFor(const Arguments& args, Start&& start) {
  const napi_env env = args.env;
  Handle& handle = args.handle();
  const auto [bytes, count] = args.array<uint8_t>(2);
  Completion completion;
  napi_value promise;
  check(napi_create_promise(env, &completion.deferred, &promise));
  check(napi_create_reference(env, args.values[2], 1, &completion.target));
  // The process stays alive while one is pending, and only then.
  if (handle.pendingReads++ == 0) napi_ref_threadsafe_function(env, handle.wake);
  start(bytes, count, [&handle, completion](const std::string& failure) {
    bool first;
    {
      std::lock_guard<std::mutex> lock(handle.mutex);
      first = handle.completed.empty();
      handle.completed.push_back({completion.deferred, completion.target, failure});
    }
    // One call settles all that has piled up by then.
    if (first) napi_call_threadsafe_function(handle.wake, nullptr, napi_tsfn_nonblocking);
  });
  return promise;
}

// read(handle, address, target): the target is filled.
napi_value read(const Arguments& args) {
  return promiseFor(args, [&](uint8_t* target, size_t count, auto done) {
    args.handle().queue.read(args.address(1), target, count, std::move(done));
  });
}

// upload(handle, address, bytes): they are copied, and may be changed from then on.
napi_value upload(const Arguments& args) {
  return promiseFor(args, [&](const uint8_t* bytes, size_t count, auto done) {
    args.handle().queue.upload(args.address(1), bytes, count, std::move(done));
  });
}

// A C++ exception (no memory, no thread, no handle) as one of JavaScript, where that may still have one.
template <napi_value (*function)(const Arguments&)>
napi_value guarded(napi_env env, napi_callback_info info) {
  try {
    return function(Arguments(env, info));
  } catch (const std::exception& error) {
    napi_throw_error(env, nullptr, error.what());
    return nullptr;
  }
}

template <napi_value (*function)(const Arguments&)>
constexpr napi_property_descriptor method(const char* name) {
  return {name, nullptr, guarded<function>, nullptr, nullptr, nullptr, napi_default, nullptr};
}

// Pool threads outlive a worker's environment: the code they run must not be unmapped with it.
void keepLoaded() {
#ifdef _WIN32
  HMODULE self;
  GetModuleHandleExA(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN,
                     (const char*)keepLoaded, &self);
#else
  Dl_info self;
  if (dladdr((void*)keepLoaded, &self)) dlopen(self.dli_fname, RTLD_NOW | RTLD_NODELETE);
#endif
}

}  // namespace

NAPI_MODULE_INIT() {
  keepLoaded();
  const napi_property_descriptor methods[] = {
      method<isas>("isas"), method<open>("open"),         method<close>("close"),
      method<run>("run"),   method<raise>("raise"),       method<allocate>("allocate"),
      method<freeBlock>("free"), method<map>("map"),
      method<read>("read"), method<write>("write"),       method<upload>("upload")};
  napi_define_properties(env, exports, std::size(methods), methods);
  return exports;
}
