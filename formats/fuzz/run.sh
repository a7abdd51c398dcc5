#!/usr/bin/env bash
# Runs fuzz targets one after the other, FUZZ_SECONDS each (60), and tells executions, seconds and crashes. `make fuzz` calls it; names of
# targets may be given, else all run. What it finds is kept in target/fuzz/corpus, what it breaks in target/fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${FUZZ_SECONDS:-60}
out=$(cd ../.. && pwd)/target/fuzz
# AddressSanitizer is a flag of nightly compilers; this lets a stable one take it, and with it the whole house needs one toolchain.
export RUSTC_BOOTSTRAP=1
# What an input may take: memory at once, memory in all, seconds; and how long it is.
limits=(-malloc_limit_mb=256 -rss_limit_mb=2048 -timeout=20 -max_len=4096)
# Comparisons are not traced: that took more than half of the time, and seeds and a dictionary tell the fuzzer the words that matter.
# Stacks of allocations are kept short for the same reason; a crash shows its own stack all the same.
export ASAN_OPTIONS=detect_odr_violation=0:malloc_context_size=3:detect_stack_use_after_return=0

cargo fuzz build --target-dir "$out" --no-trace-compares
binaries=$out/$(rustc -vV | sed -n 's/^host: //p')/release
if (($# == 0)); then
  list=$(cargo fuzz list)
  # shellcheck disable=SC2086  # a word for each target
  set -- $list
fi
table=$(printf '%-20s %12s %8s %8s' target executions seconds crashes)
broken=0
for target in "$@"; do
  mkdir -p "$out/corpus/$target" "$out/artifacts/$target" "$out/logs"
  log=$out/logs/$target.log
  dictionary=()
  if [[ -e $target.dict ]]; then dictionary=("-dict=$target.dict"); fi
  began=$SECONDS
  crashes=0
  # Finds go to the first folder, the committed corpus is only read.
  "$binaries/$target" "$out/corpus/$target" "corpus/$target" "-max_total_time=$seconds" "${limits[@]}" "${dictionary[@]}" \
    "-artifact_prefix=$out/artifacts/$target/" -print_final_stats=1 >"$log" 2>&1 || crashes=1
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
  row=$(printf '%-20s %12s %8s %8s' "$target" "${executions:-none}" $((SECONDS - began)) "$crashes")
  echo "$row"
  table+=$'\n'$row
  if ((crashes)); then
    broken=1
    grep -E 'panicked|ERROR: |SUMMARY|Test unit written' "$log" | head -n 5 || tail -n 20 "$log"
  fi
done
echo
echo "$table"
if ((broken)); then
  echo "error: a target broke; its input is in $out/artifacts: mend the defect and commit the input to formats/fuzz/corpus" >&2
  exit 1
fi
