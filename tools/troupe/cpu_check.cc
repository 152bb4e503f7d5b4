// Says in one line that this machine is too old, before any instruction that it lacks is met. Compiled for the oldest machine, and without any header whose
// inline functions the linker could share with units that are compiled for a newer one.
extern "C" {
long write(int file, const void* bytes, unsigned long size);
[[noreturn]] void _exit(int code);
}

namespace {

// Runs before the other initialisers of the program: 101 is the earliest that is left to us.
__attribute__((constructor(101))) void CheckMachine() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2")) return;
  static const char kMessage[] = "this processor lacks AVX2, FMA or BMI2: build with -DTROUPE_MARCH=x86-64 (or native) on this machine\n";
  (void)!write(2, kMessage, sizeof kMessage - 1);
  _exit(1);
}

}   // namespace
