// KJ's exceptions as one line of text.
#pragma once

#include <kj/exception.h>

#include <string>

namespace troupe {

inline std::string Describe(const kj::Exception& error) {
  std::string text = error.getDescription().cStr();
  for (char& letter : text) {
    if (letter == '\n') letter = ' ';
  }
  return text;
}

}   // namespace troupe
