// This process as a whole: what it may use, when it began, whether it is asked to stop, and whether what it printed arrived.
#pragma once

#include <atomic>

#include "absl/status/status.h"

namespace troupe {

/// Writing to a closed pipe or beyond the file-size limit is an error to report, not a signal to die by. First thing in main.
void IgnoreWriteSignals();
/// From now on SIGINT and SIGTERM set the flag that StopAsked returns; a second one ends the process at once.
void CatchStopSignals();
const std::atomic<bool>& StopAsked();
/// What a command that was stopped returns: exit code 1.
absl::Status Stopped();
/// That it may use.
int Cores();
/// Since the process was made (the kernel's account, in steps of 10 ms; without it: since main).
double SecondsSinceStart();
/// Internal: "stdout: why not all of it could be written".
absl::Status FlushOutput();

}   // namespace troupe
