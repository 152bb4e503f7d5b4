// Rows of text with aligned columns, for people.
#pragma once

#include <string>
#include <vector>

namespace troupe {

class TextTable {
 public:
  /// Every line starts with `indent` blanks.
  explicit TextTable(size_t indent = 0) : indent_(indent) {}
  void Row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  /// This column's cells end at the same place, as numbers do.
  void AlignRight(size_t column) { right_.push_back(column); }
  /// Lines of at most 160 columns: the last cell of a row goes on in lines of its own.
  std::string Text() const;

 private:
  std::vector<size_t> Widths() const;
  size_t indent_;
  std::vector<std::vector<std::string>> rows_;
  std::vector<size_t> right_;
};

}   // namespace troupe
