// Column widths, padding, and the wrapping of the last cell.
#include "tools/troupe/table.h"

#include <algorithm>

namespace troupe {
namespace {

constexpr size_t kLineMax = 160, kLastCellMin = 40, kGap = 3;

/// Characters, not bytes: UTF-8's continuation bytes take no room.
size_t Width(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

/// `text` in lines of at most `room` characters, cut at blanks; those after the first start with `indent` blanks.
std::string Wrapped(const std::string& text, size_t room, size_t indent) {
  std::string result;
  size_t in_line = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, end - at);
    if (in_line != 0 && in_line + 1 + Width(word) > room) {
      result += "\n" + std::string(indent, ' ');
      in_line = 0;
    } else if (at != 0) {
      result += ' ';
      ++in_line;
    }
    result += word;
    in_line += Width(word);
    at = end + 1;
  }
  return result;
}

}   // namespace

std::vector<size_t> TextTable::Widths() const {
  std::vector<size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Width(row[i]));
  }
  return widths;
}

std::string TextTable::Text() const {
  const std::vector<size_t> widths = Widths();
  std::string text;
  for (const auto& row : rows_) {
    std::string line(indent_, ' ');
    size_t at = indent_;
    for (size_t i = 0; i < row.size(); ++i) {
      const bool right = std::find(right_.begin(), right_.end(), i) != right_.end();
      const std::string padding(widths[i] - Width(row[i]), ' ');
      const bool last = i + 1 == row.size();
      if (right) line += padding;
      line += last && !right ? Wrapped(row[i], kLineMax > at + kLastCellMin ? kLineMax - at : kLastCellMin, at) : row[i];
      if (!last) line += (right ? "" : padding) + std::string(kGap, ' ');
      at += widths[i] + kGap;
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

}   // namespace troupe
