// Bulk data that travels: immutable, reference-counted, 64-byte aligned bytes. Handed over in process without a copy; between processes it rides in a
// message as Data and is read as a view on the other side.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "actors/check.h"

namespace troupe {

class Block {
 public:
  static constexpr size_t kAlignment = 64;

  Block() = default;

  /// A copy of `bytes`, 64-byte aligned.
  static Block Copy(const void* bytes, size_t size);
  template <class T>
  static Block Copy(std::span<const T> values) {
    static_assert(std::is_trivially_copyable_v<T>);
    return Copy(values.data(), values.size_bytes());
  }
  /// Takes `values` over without a copy. Alignment is the allocator's (16), enough for every element type.
  template <class T>
  static Block Adopt(std::vector<T> values) {
    static_assert(std::is_trivially_copyable_v<T>);
    auto owner = std::make_shared<std::vector<T>>(std::move(values));
    const T* data = owner->data();
    const size_t size = owner->size() * sizeof(T);
    return View(data, size, std::move(owner));
  }
  /// Bytes that `owner` keeps alive. The bytes must not change while any Block refers to them.
  static Block View(const void* bytes, size_t size, std::shared_ptr<const void> owner) {
    Block block;
    block.data_ = static_cast<const std::byte*>(bytes);
    block.size_ = size;
    block.owner_ = std::move(owner);
    return block;
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const std::byte* data() const { return data_; }

  /// The bytes as numbers. The size must be a multiple of sizeof(T) and the address aligned for T: decoders check both before (see IsArrayOf).
  template <class T>
  std::span<const T> As() const {
    static_assert(std::is_trivially_copyable_v<T>);
    TROUPE_CHECK(IsArrayOf<T>());
    return {reinterpret_cast<const T*>(data_), size_ / sizeof(T)};
  }
  template <class T>
  bool IsArrayOf() const {
    return size_ % sizeof(T) == 0 && reinterpret_cast<uintptr_t>(data_) % alignof(T) == 0;
  }

  /// Bytes [offset, offset + size) of this block, sharing its owner. Must lie inside.
  Block Slice(size_t offset, size_t size) const {
    TROUPE_CHECK(offset <= size_ && size <= size_ - offset);
    return View(data_ + offset, size, owner_);
  }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::shared_ptr<const void> owner_;
};

/// Memory to be filled once and then frozen into a Block.
class BlockBuilder {
 public:
  /// `size` bytes, 64-byte aligned, not initialised.
  explicit BlockBuilder(size_t size);
  std::byte* data() { return data_.get(); }
  size_t size() const { return size_; }
  template <class T>
  std::span<T> As() {
    return {reinterpret_cast<T*>(data_.get()), size_ / sizeof(T)};
  }
  Block Finish() &&;

 private:
  std::shared_ptr<std::byte> data_;
  size_t size_;
};

}   // namespace troupe
