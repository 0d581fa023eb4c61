// The few names of ONNX Runtime's C++ API that the README's program uses, for tests on machines
// without its headers. They call the real C library through its function table, whose order is
// part of the library's binary interface and never changes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

enum OrtLoggingLevel { ORT_LOGGING_LEVEL_WARNING = 2 };
enum OrtAllocatorType { OrtArenaAllocator = 1 };
enum OrtMemType { OrtMemTypeDefault = 0 };

struct OrtApiTable {
  const void* entries[128];
};
struct OrtApiBase {
  const OrtApiTable*(*GetApi)(uint32_t version);
  const char*(*GetVersionString)();
};
extern "C" const OrtApiBase* OrtGetApiBase();

namespace Ort {

// Places in the function table of onnxruntime_c_api.h
enum Entry {
  kGetErrorMessage = 2,
  kCreateEnv = 3,
  kCreateSession = 7,
  kRun = 9,
  kCreateSessionOptions = 10,
  kSetIntraOpNumThreads = 24,
  kCreateTensorWithData = 49,
  kGetTensorMutableData = 51,
  kCreateCpuMemoryInfo = 69,
};

template <typename Result = void*, typename... Arguments>
Result Call(Entry entry, Arguments... arguments) {
  const void* address = OrtGetApiBase()->GetApi(14)->entries[entry];
  return reinterpret_cast<Result (*)(Arguments...)>(const_cast<void*>(address))(arguments...);
}

template <typename... Arguments>
void Check(Entry entry, Arguments... arguments) {
  if (void* status = Call<void*>(entry, arguments...))
    throw std::runtime_error(Call<const char*>(kGetErrorMessage, static_cast<const void*>(status)));
}

// An owned object of the library; a test's process ends soon enough to leave releasing to it.
struct Object {
  void* handle = nullptr;
  Object() = default;
  explicit Object(void* given) : handle(given) {}
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  Object(Object&& other) noexcept : handle(std::exchange(other.handle, nullptr)) {}
};

struct Env : Object {
  Env(OrtLoggingLevel level, const char* name) {
    Check(kCreateEnv, static_cast<int>(level), name, &handle);
  }
};

struct SessionOptions : Object {
  SessionOptions() { Check(kCreateSessionOptions, &handle); }
  SessionOptions& SetIntraOpNumThreads(int threads) {
    Check(kSetIntraOpNumThreads, handle, threads);
    return *this;
  }
};

struct MemoryInfo : Object {
  static MemoryInfo CreateCpu(OrtAllocatorType allocator, OrtMemType kind) {
    MemoryInfo made;
    Check(kCreateCpuMemoryInfo, static_cast<int>(allocator), static_cast<int>(kind), &made.handle);
    return made;
  }
};

struct RunOptions : Object {
  explicit RunOptions(std::nullptr_t) {}
};

struct Value : Object {
  using Object::Object;
  template <typename T>
  static Value CreateTensor(const MemoryInfo& memory, T* data, size_t count, const int64_t* shape,
                            size_t rank) {
    static_assert(std::is_same_v<T, float> || std::is_same_v<T, uint8_t>);
    const int kind = std::is_same_v<T, float> ? 1 : 2;
    Value made;
    Check(kCreateTensorWithData, static_cast<const void*>(memory.handle),
          static_cast<void*>(data), count * sizeof(T), shape, rank, kind, &made.handle);
    return made;
  }
  template <typename T>
  const T* GetTensorData() const {
    void* data = nullptr;
    Check(kGetTensorMutableData, handle, &data);
    return static_cast<const T*>(data);
  }
};

struct Session : Object {
  Session(const Env& env, const char* path, const SessionOptions& options) {
    Check(kCreateSession, static_cast<const void*>(env.handle), path,
          static_cast<const void*>(options.handle), &handle);
  }
  std::vector<Value> Run(const RunOptions& options, const char* const* input_names,
                         const Value* inputs, size_t input_count, const char* const* output_names,
                         size_t output_count) {
    std::vector<const void*> given;
    for (size_t k = 0; k < input_count; ++k) given.push_back(inputs[k].handle);
    std::vector<void*> answered(output_count, nullptr);
    Check(kRun, handle, static_cast<const void*>(options.handle), input_names, given.data(),
          input_count, output_names, output_count, answered.data());
    std::vector<Value> values;
    for (void* one : answered) values.emplace_back(one);
    return values;
  }
};

}  // namespace Ort
