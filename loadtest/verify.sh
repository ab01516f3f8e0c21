#!/usr/bin/env bash
#
# The one test command: installs what is missing, runs every check of Fanline, prints a table of what ran and
# closes with the line `N passed, N failed, N skipped`. What could not run counts as failed. The one exception is
# Autobahn on a machine with neither Python 2.7 nor Docker, which is shown as skipped.
#
#   loadtest/verify.sh                  everything
#   loadtest/verify.sh clippy browser   these steps alone
#
# Environment:
#   FANLINE_CACHE    where virtual environments are kept between runs (default ~/.cache/fanline)
#   VERIFY_SECONDS   the time for everything together (default 1800)
#   CHROMIUM         the browser, where it is not Debian's
#   FUZZ_SECONDS     how long each fuzz target runs (default 20)
#   SCREENSHOTS      a folder for the browser test's pictures (default target/verify/screenshots)
#
# Each step's output is in target/verify/<step>.log.

set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
ROOT=$PWD
SELF=$ROOT/loadtest/verify.sh
export FANLINE_CACHE=${FANLINE_CACHE:-${HOME:-/tmp}/.cache/fanline}  # the Autobahn run keeps its own there, too
export LOGS=$ROOT/target/verify
export ENDED=$LOGS/ended   # a file for each step that is over
RESULTS=$LOGS/results
DEADLINE=$((SECONDS + ${VERIFY_SECONDS:-1800}))
TAIL_LINES=60      # of a failed step's log
PYTHONS=(python3 python3.14 python3.13 python3.12 python3.11)
SKIPPED=77         # the exit code that says "could not run here, and why is in the log"

STEPS=(fmt compile clippy docs build tests sim doctests benches conform autobahn idle push attacks instructions interop browser proxies nodes channels packaging fuzz)

# Seconds a step may take on a small machine, with the others beside it; compiling from nothing is in them.
declare -A LIMIT=(
  [setup]=400 [fmt]=60 [compile]=800 [clippy]=400 [docs]=300 [build]=800 [tests]=600 [sim]=400 [doctests]=200 [benches]=240 [fuzz]=800
  [conform]=180 [autobahn]=360 [idle]=180 [push]=120 [attacks]=180 [instructions]=180 [interop]=240 [browser]=400 [proxies]=240 [nodes]=240
  [channels]=240 [packaging]=120
)

# The tests that `--all-targets` leaves out.
ASKED_FOR=(--test proxies --test nodes --test channels --test packaging)

# What is run side by side: each lane's steps one after the other. The first compiles for the tests and runs them, the second
# compiles in folders of its own; two cores are busy with these from begin to end. The others mostly wait, for clients,
# timeouts and browsers.
LANES=(
  "fmt compile clippy docs tests"
  "build instructions fuzz sim doctests benches"
  "packaging nodes proxies channels"
  "conform idle push attacks interop browser autobahn"
)

# What has to be over before a step begins; the steps that build everything for themselves do so when they are run alone.
# The tests that cargo starts would wait for clippy and rustdoc, which keep the folder to themselves.
declare -A NEEDS=(
  [instructions]="setup" [packaging]="setup docs" [nodes]="setup docs build" [proxies]="setup docs" [channels]="setup docs"
  [conform]="compile build" [idle]="compile build" [push]="compile build" [attacks]="compile build"
  [sim]="docs" [doctests]="docs" [benches]="docs"
  [interop]="setup build" [browser]="setup build" [autobahn]="setup compile build"
)

# Compilers give way to what is under a clock.
declare -A NICE=([compile]=5 [clippy]=5 [docs]=5 [build]=5)

# ── The steps ───────────────────────────────────────────────────────────────────────────────────────────────

step_fmt()      { cargo fmt --all --check; }
# With `--all-targets` beside them, cargo does not hear the names of single tests.
step_clippy() {
  cargo clippy --workspace --all-targets --locked -- -D warnings &&
    cargo clippy --workspace "${ASKED_FOR[@]}" --locked -- -D warnings
}
step_docs()     { RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked; }
step_doctests() { cargo test --doc --workspace --locked; }
step_conform()  { harness conform; }
step_autobahn() { harness autobahn --profile quick; }
step_idle()     { harness idle --bytes-max 512; }
# What is judged here is that every message comes once, in order, in every way; not how fast.
step_push()     { harness push --subscribers 50 --rate 50 --seconds 1 --warmup 0.2 --late-max 1 --waited-max 1; }
# Each attack in small: nothing of the bystanders' is lost, memory, descriptors and threads keep their bounds. Times are
# left out of it, since others may use the machine. The quiet before lasts until what the server does once a second has been
# done once: the memory that takes is nobody's attack.
step_attacks() {
  local passed=0 failed=0 attack
  while read -r attack; do
    # shellcheck disable=SC2086 # it is several words
    if harness $attack --quiet 1.5 --p99-floor 10000 </dev/null; then
      passed=$((passed + 1))
    else
      failed=$((failed + 1))
    fi
  done <<'END'
stall --members 200 --rate 200 --seconds 1
herd --connections 1000
slowloris --connections 20
bomb --seconds 2
flood --seconds 0.5
soak --minutes 0.05 --rate 1000
END
  echo "$passed passed, $failed failed, 0 skipped"
  [ "$failed" = 0 ]
}

# With the workspace's features, as everything else; `--benches` would run the harness's own tests once more.
step_benches()  { cargo test --workspace --bench '*' --locked; }
step_instructions() { benches/count.sh; }
step_proxies()  { cargo test --workspace --test proxies --locked; }
# What is judged of the harness's fleets is that every message comes once and in order at every node; not how fast.
step_nodes() {
  local fleet=(harness nodes --nodes 2 --subscribers 64 --seconds 0.5 --warmup 0.2 --late-max 1 --waited-max 1)
  cargo test --workspace --test nodes --locked && "${fleet[@]}" && "${fleet[@]}" --one-port
}

step_packaging() { cargo test --workspace --test packaging --locked; }
step_channels() {
  export CHANNELS_PYTHON
  CHANNELS_PYTHON=$(venv_folder channels)/bin/python
  cargo test --workspace --test channels --locked
}

# Each target for a while over its corpus, and whatever comes to the fuzzer's mind; one for each core at a time.
step_fuzz() {
  local targets
  targets=$(sed -n '/^\[\[bin\]\]/,$ s/^name = "\(.*\)"$/\1/p' fuzz/Cargo.toml)
  build_fuzz || return
  export -f fuzz_one
  xargs --max-procs="$(nproc)" --max-args=1 bash -c 'fuzz_one "$1"' fuzz <<<"$targets"
  local passed=0 target
  for target in $targets; do
    if [ -e "$LOGS/fuzz-$target.passed" ]; then passed=$((passed + 1)); else tail -n 20 "$LOGS/fuzz-$target.log"; fi
  done
  echo "$passed passed, $(($(wc -w <<<"$targets") - passed)) failed, 0 skipped"
  [ "$passed" = "$(wc -w <<<"$targets")" ]
}

# What `cargo fuzz build --sanitizer none` does, which would have to be compiled first, and asks for all of a crate in
# one piece. `--target`, so that build scripts and macros do without the counters.
build_fuzz() {
  local host flags="--cfg fuzzing -Cpasses=sancov-module" counters
  host=$(rustc -vV | sed -n 's/^host: //p')
  for counters in coverage-level=4 coverage-inline-8bit-counters coverage-pc-table coverage-trace-compares; do
    flags+=" -Cllvm-args=-sanitizer-$counters"
  done
  export FUZZERS
  FUZZERS=$(target_folder)/fuzz
  # A branch is a branch, also where it could be computed: otherwise the fuzzer does not learn of its other side.
  RUSTFLAGS="$flags -Cllvm-args=-simplifycfg-branch-fold-threshold=0" cargo build --manifest-path fuzz/Cargo.toml \
    --release --bins --locked --target "$host" --target-dir "$FUZZERS"
  FUZZERS+=/$host/release
}

fuzz_one() {
  rm -f "$LOGS/fuzz-$1.passed"
  "$FUZZERS/$1" "fuzz/corpus/$1" -artifact_prefix="$LOGS/fuzz-$1-" -max_total_time="${FUZZ_SECONDS:-20}" -max_len=4096 \
    -verbosity=0 >"$LOGS/fuzz-$1.log" 2>&1 && touch "$LOGS/fuzz-$1.passed"
}

# Everything that the tests need, also those with a fault planted, at once: cargo lets nobody else compile meanwhile, so
# what comes later had better find it done.
step_compile() {
  cargo test --no-run --workspace --all-targets --locked && cargo test --no-run --workspace "${ASKED_FOR[@]}" --locked &&
    planted_faults --no-run && build_harness
}

# What is shipped is built as it is shipped, the server and the program whose instructions are counted; a package at a
# time, since together they would share their dependencies' features.
step_build() {
  build_server && cargo build --release --locked --package fanline-count
}

build_server() { cargo build --release --locked --package fanline --bin fanline; }

# A test beside it, so that the features are those of the tests' build.
build_harness() { cargo build --workspace --bins --test tidy --locked --quiet; }

step_tests() {
  if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --workspace --locked --no-fail-fast
  else
    cargo test --workspace --lib --bins --tests --examples --locked --no-fail-fast
  fi
}

# The simulator finds each of the faults that can be planted; a build of its own, so that the others have none of them.
step_sim() { planted_faults fault; }

planted_faults() { cargo test --workspace --features fanline/planted-faults --test sim --locked "$@"; }

step_interop() {
  export FANLINE PYTHON
  FANLINE=$(server_binary) || return
  PYTHON=$(venv_folder interop)/bin/python
  node --test --test-reporter=tap tests/interop/run.mjs tests/interop/push.mjs
}

step_browser() {
  export FANLINE CHROMIUM SCREENSHOTS
  FANLINE=$(server_binary) || return
  CHROMIUM=$(chromium_path) || { missing "a Chromium"; return 1; }
  SCREENSHOTS=${SCREENSHOTS:-$LOGS/screenshots}
  node --test --test-force-exit --test-concurrency=1 --test-reporter=tap tests/browser/*.test.mjs
}

server_binary() {
  build_server || return
  echo "$(target_folder)/release/fanline"
}

target_folder() {
  local folder
  folder=$(cargo metadata --format-version 1 --no-deps --locked | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
  echo "${folder:-$ROOT/target}"
}

# What `cargo loadtest` does, with the server as it is shipped, but the harness is optimized a little and shares what the
# tests have compiled: as a release it took three times as long, and dependencies of its own. A debug build missed the
# deadlines of what it deflates; what is judged here is what arrives and the server's memory, not times.
harness() {
  [ -e "$ENDED/compile" ] || build_harness || return
  [ -n "${FANLINE_BIN:-}" ] || FANLINE_BIN=$(server_binary) || return
  export FANLINE_BIN
  "$(target_folder)/debug/fanline-loadtest" "$@"
}

# ── Counting: every runner's own words become `passed failed skipped` ───────────────────────────────────────

count_fmt()      { count_exit "$@"; }
count_clippy()   { count_exit "$@"; }
count_docs()     { count_exit "$@"; }
count_build()    { count_exit "$@"; }
count_compile()  { count_exit "$@"; }
count_doctests() { count_cargo "$1"; }
count_benches()  { count_criterion "$1"; }
count_fuzz()     { count_plain "$1" | skips_fail; }
count_conform()  { count_plain "$1" | skips_fail; }
count_idle()     { count_plain "$1" | skips_fail || { grep -q bytes "$1" && count_exit "$@"; }; }
count_push()     { count_exit "$@"; }
count_attacks()  { count_plain "$1" | skips_fail; }
count_instructions() { count_plain "$1" | skips_fail; }
count_interop()  { count_node "$1" | skips_fail; }
count_proxies()  { count_cargo "$1"; }
count_nodes()    { count_cargo "$1"; }
count_packaging() { count_cargo "$1"; }
count_channels() { count_cargo "$1"; }
count_browser()  { count_node "$1" | skips_fail; }
count_sim()      { count_cargo "$1"; }
count_tests()    { count_nextest "$1" || count_cargo "$1"; }
count_autobahn() { if [ "$2" = "$SKIPPED" ]; then echo "0 0 1"; else count_plain "$1" || count_cases "$1"; fi; }

# What a harness skipped is something that could not run.
skips_fail() { awk '{ print $1, $2 + $3, 0 }'; }

count_exit() { if [ "$2" = 0 ]; then echo "1 0 0"; else echo "0 1 0"; fi; }

# The last `N passed, N failed, N skipped`.
count_plain() {
  awk '/^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/ { line = $1 " " $3 " " $5 }
       END { if (line == "") exit 1; print line }' "$1"
}

# `349 cases in 70 s: 0 failed`
count_cases() {
  awk '/^[0-9]+ cases in [0-9.]+ s: [0-9]+ failed$/ { line = ($1 - $6) " " $6 " 0" }
       END { if (line == "") exit 1; print line }' "$1"
}

# `Summary [ 1.2s] 9 tests run: 7 passed (1 slow), 1 failed, 1 timed out, 2 skipped`
count_nextest() {
  awk '$1 == "Summary" && /tests? run:/ {
         sub(/.*run: */, ""); gsub(/\([^)]*\)/, ""); passed = failed = skipped = 0
         parts = split($0, part, ",")
         for (i = 1; i <= parts; i++) {
           split(part[i], word, " ")
           if (word[2] == "passed") passed = word[1]
           else if (word[2] == "skipped") skipped = word[1]
           else failed += word[1]
         }
         line = passed " " failed " " skipped
       }
       END { if (line == "") exit 1; print line }' "$1"
}

# The sum of `test result: ok. 3 passed; 0 failed; 1 ignored; …` over all binaries.
count_cargo() {
  awk '/^test result: / { seen = 1; for (i = 2; i <= NF; i++) {
         if ($i ~ /^passed/) passed += $(i - 1); if ($i ~ /^failed/) failed += $(i - 1); if ($i ~ /^ignored/) skipped += $(i - 1) } }
       END { if (!seen) exit 1; print passed + 0, failed + 0, skipped + 0 }' "$1"
}

# A line `Success` for each bench that was run once; one that fails ends its program.
count_criterion() { awk '/^Success$/ { passed++ } END { print passed + 0, 0, 0 }' "$1"; }

# `# pass 3` and its sisters, of node's TAP.
count_node() {
  awk '/^# (pass|fail|cancelled|skipped|todo) [0-9]+$/ { seen = 1; n[$2] = $3 }
       END { if (!seen) exit 1; print n["pass"] + 0, n["fail"] + n["cancelled"], n["skipped"] + n["todo"] }' "$1"
}

# ── Running a step ──────────────────────────────────────────────────────────────────────────────────────────

export PATH=$PATH:${HOME:-/root}/.cargo/bin
# Colours would hide the counts from the parsers.
export CARGO_TERM_COLOR=never NO_COLOR=1 NODE_DISABLE_COLORS=1
unset FORCE_COLOR CLICOLOR_FORCE
# To prepare for the next change takes a fifth of what it takes to compile; where nobody has done so, nobody waits for it.
[ -e "${CARGO_TARGET_DIR:-target}/debug/incremental" ] || export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}

run_step() {
  local name=$1 log=$LOGS/$1.log started limit status counts
  await_needs "$name"
  started=$SECONDS
  limit=$(seconds_for "$name")
  printf '── %s\n' "$name"
  if [ "$limit" -le 0 ]; then
    echo "not run: the ${VERIFY_SECONDS:-1800} s for everything are over" >"$log"
    status=124
  else
    nice -n "${NICE[$name]:-0}" timeout --kill-after=15 "$limit" "$SELF" --only "$name" >"$log" 2>&1 </dev/null
    status=$?
    [ "$status" = 124 ] && echo "ended after $limit s, its limit" >>"$log"
  fi
  counts=$(counted "$name" "$log" "$status")
  echo "$name $counts $((SECONDS - started)) $status" >>"$RESULTS"
  report_step "$name" "$counts" "$log"
  touch "$ENDED/$name"
}

# Waits for the steps that this one builds upon, where they are run at all; each of them has its limit.
await_needs() {
  local need
  for need in ${NEEDS[$1]:-}; do
    while [ -e "$ENDED/$need.awaited" ] && [ ! -e "$ENDED/$need" ]; do sleep 0.2; done
  done
}

# The counts of a step's log, made to agree with its exit code: a step that died without saying what failed is one
# failure, and so is one that ran no test.
counted() {
  local name=$1 log=$2 status=$3 passed=0 failed=0 skipped=0
  read -r passed failed skipped < <("count_$name" "$log" "$status" || echo "0 0 0")
  if [ "$failed" -eq 0 ] && [ "$name-$status" != "autobahn-$SKIPPED" ]; then
    if [ "$status" -ne 0 ]; then
      echo "ended with exit code $status" >>"$log"
      failed=1
    elif [ "$passed" -eq 0 ]; then
      echo "ran no test" >>"$log"
      failed=1
    fi
  fi
  echo "$passed $failed $skipped"
}

report_step() {
  local name=$1 log=$3 passed failed skipped
  read -r passed failed skipped <<<"$2"
  printf '   %s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
  if [ "$failed" -gt 0 ]; then
    printf '   the end of %s:\n' "${log#"$ROOT"/}"
    tail -n "$TAIL_LINES" "$log" | sed 's/^/   | /'
  elif [ "$skipped" -gt 0 ] && [ "$name" = autobahn ]; then
    printf '   Autobahn was skipped; its last words:\n'
    tail -n 8 "$log" | sed 's/^/   | /'
  fi
}

# A step's limit, or what is left of the whole.
seconds_for() {
  local left=$((DEADLINE - SECONDS))
  if [ "$left" -lt "${LIMIT[$1]}" ]; then echo "$left"; else echo "${LIMIT[$1]}"; fi
}

print_table() {
  printf '\n%-12s %8s %8s %8s %8s\n' step passed failed skipped seconds
  local step name passed failed skipped seconds _
  for step in "${STEPS[@]}"; do
    while read -r name passed failed skipped seconds _; do
      printf '%-12s %8s %8s %8s %8s\n' "$name" "$passed" "$failed" "$skipped" "$seconds"
    done < <(grep "^$step " "$RESULTS")
  done
  printf '\n'
}

# The closing line; fails when anything failed.
print_sum() {
  awk '{ passed += $2; failed += $3; skipped += $4 }
       END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped; exit (failed > 0 || passed == 0) }' "$RESULTS"
}

# ── Installing what is missing ──────────────────────────────────────────────────────────────────────────────

# Each line `missing: …` is what a person has to do by hand; the steps that need it then fail.
missing() { echo "missing: $*"; }

setup_rust() {
  command -v cargo >/dev/null || { missing "cargo: install Rust with rustup"; return; }
  cargo fmt --version >/dev/null 2>&1 || add_component rustfmt
  cargo clippy --version >/dev/null 2>&1 || add_component clippy
}

add_component() {
  if ! { command -v rustup >/dev/null && rustup component add "$1"; }; then missing "the Rust component $1"; fi
}

# Debian's packages that bring commands: install_command COMMAND PACKAGE…
install_command() {
  local command=$1
  shift
  command -v "$command" >/dev/null || install_packages "$@"
  command -v "$command" >/dev/null || missing "$command: Debian's package $1"
}

install_packages() {
  command -v apt-get >/dev/null || return 1
  [ "$(id -u)" = 0 ] || return 1
  echo "installing Debian's $*"
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120)
  "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "$@" >/dev/null
}

setup_commands() {
  install_command curl curl ca-certificates
  install_command python3 python3 python3-venv
  install_command valgrind valgrind
  install_command nginx nginx
  install_command haproxy haproxy
  install_command redis-server redis-server redis-tools
  install_command groff groff
  install_command systemd-analyze systemd
  install_command node nodejs npm
  install_command npm npm
  node -e 'process.exitCode = parseInt(process.versions.node) < 20 ? 1 : 0' || missing "node 20 or newer"
}

chromium_path() {
  local candidate
  for candidate in "${CHROMIUM:-}" /usr/bin/chromium /usr/bin/chromium-headless-shell; do
    if [ -x "$candidate" ]; then echo "$candidate"; return; fi
  done
  return 1
}

setup_chromium() {
  chromium_path >/dev/null || install_packages chromium
  chromium_path >/dev/null || missing "a Chromium: Debian's package chromium, or its path in CHROMIUM"
}

# One environment per set of requirements, so that an old one is never half right.
venv_folder() { echo "$FANLINE_CACHE/$1-$(cksum <"tests/$1/requirements.txt" | cut -d' ' -f1)"; }

setup_venv() {
  local folder python
  folder=$(venv_folder "$1")
  [ -e "$folder/complete" ] && return
  python=$(recent_python) || { missing "Python 3.11 or newer"; return; }
  mkdir -p "$FANLINE_CACHE"
  if ! make_venv "$python" "$folder" && ! { install_packages python3-venv && make_venv "$python" "$folder"; }; then
    missing "a Python virtual environment: Debian's package python3-venv"
  elif "$folder/bin/python" -m pip --quiet install --requirement "tests/$1/requirements.txt"; then
    touch "$folder/complete"
  else
    missing "the Python packages of tests/$1/requirements.txt"
  fi
}

make_venv() { rm -rf "$2" && "$1" -m venv "$2"; }

recent_python() {
  local python
  for python in "${PYTHONS[@]}"; do
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$python"; return; }
  done
  return 1
}

# Installed anew only when the lock file has changed since.
setup_npm() {
  local folder=$1
  cmp -s "$folder/package-lock.json" "$folder/node_modules/.installed" && return
  if (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund); then
    cp "$folder/package-lock.json" "$folder/node_modules/.installed"
  else
    missing "the npm packages of $folder"
  fi
}

step_setup() {
  setup_commands
  setup_chromium
  setup_venv interop
  setup_venv channels
  setup_npm tests/interop
  setup_npm tests/browser
}

# The installing goes on beside the compiling; the steps that need it wait for it.
run_setup() {
  timeout --kill-after=15 "${LIMIT[setup]}" "$SELF" --only setup >"$LOGS/setup.log" 2>&1 </dev/null ||
    echo "missing: the installing ended with $?; see target/verify/setup.log"
  grep '^missing: ' "$LOGS/setup.log"
  touch "$ENDED/setup"
}

# ── All of it ───────────────────────────────────────────────────────────────────────────────────────────────

end_beside() {
  local pid
  for pid in $(jobs -p); do kill "$pid" 2>/dev/null; done
}

# Steps one after the other, beside others; what a step says comes at once, when it is over.
lane() {
  local name
  for name in $1; do
    [ -e "$ENDED/$name.awaited" ] || continue
    run_step "$name" >"$LOGS/$name.said" 2>&1
    cat "$LOGS/$name.said"
  done
}

main() {
  local steps=("$@") name began=$SECONDS
  [ "${#steps[@]}" -gt 0 ] || steps=("${STEPS[@]}")
  rm -rf "$ENDED"
  mkdir -p "$ENDED"
  : >"$RESULTS"
  for name in "${steps[@]}"; do
    [ -n "${LIMIT[$name]:-}" ] || { echo "no step is named $name; there are: ${STEPS[*]}" >&2; exit 2; }
    touch "$ENDED/$name.awaited"
  done
  trap end_beside EXIT
  setup_rust
  touch "$ENDED/setup.awaited"
  run_setup &
  for name in "${LANES[@]}"; do lane "$name" & done
  wait
  print_table
  echo "took $((SECONDS - began)) s"
  print_sum
}

if [ "${1:-}" = --only ]; then
  "step_$2"
else
  main "$@"
fi
