// Bytes written one after the other and read back with a check at each step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace troupe {

class ByteWriter {
 public:
  /// Seven bits a byte, the lowest first; all but the last have the highest bit set.
  void Varint(uint64_t number) {
    for (; number >= 0x80; number >>= 7) bytes_.push_back(static_cast<std::byte>(number | 0x80));
    bytes_.push_back(static_cast<std::byte>(number));
  }
  /// Numbers near 0, of either sign (modulo 2^64), in few bytes.
  void Signed(uint64_t number) { Varint(number << 1 ^ (0 - (number >> 63))); }
  std::vector<std::byte> Take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  /// False: the bytes are over or the number is longer than 64 bits.
  bool Varint(uint64_t* number) {
    *number = 0;
    for (int shift = 0; shift < 64 && !bytes_.empty(); shift += 7) {
      const auto byte = static_cast<uint64_t>(bytes_[0]);
      bytes_ = bytes_.subspan(1);
      if (shift == 63 && byte > 1) return false;
      *number |= (byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  bool Signed(uint64_t* number) {
    if (!Varint(number)) return false;
    *number = *number >> 1 ^ (0 - (*number & 1));
    return true;
  }
  std::span<const std::byte> rest() const { return bytes_; }
  void Skip(size_t bytes) { bytes_ = bytes_.subspan(bytes); }

 private:
  std::span<const std::byte> bytes_;
};

}   // namespace troupe
