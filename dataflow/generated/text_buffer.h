// Text that grows without being cleared first: a third of the time of a generator otherwise goes into zeros.
#pragma once

#include <charconv>
#include <cstring>
#include <memory>
#include <string_view>

namespace troupe {

class TextBuffer {
 public:
  /// At least `bytes` to write to from here; End() says how far it was filled.
  char* Room(size_t bytes) {
    if (capacity_ - size_ < bytes) Grow(bytes);
    return text_.get() + size_;
  }
  void End(const char* end) { size_ = static_cast<size_t>(end - text_.get()); }
  void Clear() { size_ = 0; }
  std::string_view view() const { return {text_.get(), size_}; }

 private:
  void Grow(size_t bytes) {
    capacity_ = 2 * capacity_ + bytes;
    auto larger = std::make_unique_for_overwrite<char[]>(capacity_);
    if (size_ > 0) std::memcpy(larger.get(), text_.get(), size_);
    text_ = std::move(larger);
  }

  std::unique_ptr<char[]> text_;
  size_t size_ = 0, capacity_ = 0;
};

/// The shortest text that reads back as `value`, at most 15 bytes for a float and 20 for an integer.
template <class T>
char* WriteNumber(char* to, T value) {
  return std::to_chars(to, to + 24, value).ptr;
}

}   // namespace troupe
