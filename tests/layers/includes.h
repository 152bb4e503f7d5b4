// Which file may include which: the rules of docs/architecture.md on text, so that the test can check them on a planted tree too.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace troupe::layers {

/// What is wrong with one file, one line each as "PATH:LINE: what"; empty if nothing.
///
/// path  relative to the source root, with '/': "ps/table.h".
/// text  the file's whole text. Only its #include lines (C++) and its imports (Cap'n Proto) are read.
std::vector<std::string> Violations(std::string_view path, std::string_view text);

/// For x.cc beside x.h: the .cc must include its own header first, which proves that the header compiles alone. Empty if it does.
std::string OwnHeaderViolation(std::string_view path, std::string_view text);

}   // namespace troupe::layers
