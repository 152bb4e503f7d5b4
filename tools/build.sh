# Sourced by tools/quickstart and tools/check, in the root of the checkout.

# Build PRESET JOBS TARGETS [CMAKE_OPTION...]: configures and builds. On a terminal ninja's progress is seen, else only errors. Sets build_seconds.
Build() {
  local preset=$1 jobs=$2 targets began=$SECONDS log=build/$1.log
  read -r -a targets <<<"$3"
  shift 3
  export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1   # clones in other folders share what ccache holds
  mkdir -p build
  echo "build: preset $preset, ${targets[*]}, $jobs jobs (a first build takes minutes)"
  if ! { cmake --preset "$preset" "$@" >"$log" 2>&1 && BuildTargets "$preset" "$jobs" "${targets[@]}"; } </dev/null; then
    grep -E -A12 'error|FAILED' "$log" | head -60 >&2 || tail -40 "$log" >&2
    echo "build: failed; all of its output is in $log" >&2
    return 1
  fi
  build_seconds=$((SECONDS - began))
}

BuildTargets() {
  local preset=$1 jobs=$2
  shift 2
  if [ -t 1 ]; then
    cmake --build "build/$preset" -j "$jobs" --target "$@"
  else
    cmake --build "build/$preset" -j "$jobs" --target "$@" >>"$log" 2>&1
  fi
}
