#!/usr/bin/env bash
#
# Counts user instructions: per frame parsed, echo, delivery and handshake, everything between the transport and the
# handler, under valgrind. Compares them with benches/instructions.txt and fails where one is more than 5 % above.
#
#   benches/count.sh             every case, against the table
#   benches/count.sh --update    writes the table
#
# A count is the difference between 2 N and N repetitions, divided by what they did: starting up, and opening the
# connections, fall out of it. Valgrind shows every program the same CPU as long as the real one has AVX2, so the
# counts move with the compiler and hardly with the machine. The table says which compiler.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
TABLE=benches/instructions.txt
TOLERANCE=5   # percent

# Each case with its N.
CASES=(frame:500 echo:2000 echo-unmeasured:2000 echo-pipelined:200 delivery:20 delivery-unmeasured:20
  delivery-8-pending:10 delivery-8-unmeasured:10 handshake:500)

build() {
  cargo build --release --quiet --locked --package fanline-count
  cargo metadata --format-version 1 --no-deps --locked |
    sed -n 's/.*"target_directory":"\([^"]*\)".*/\1\/release\/fanline-count/p'
}

# `units instructions` of one run.
run() {
  local units log
  log=$(mktemp)
  units=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null "$PROGRAM" "$1" "$2" 2>"$log") || { cat "$log" >&2; exit 1; }
  echo "$units $(sed -n 's/.*Collected : *//p' "$log")"
  rm "$log"
}

# A line of the table: the case and its instructions per unit.
count() {
  local name=${1%:*} n=${1#*:} once twice
  once=$(run "$name" "$n")
  twice=$(run "$name" $((2 * n)))
  echo "$name $once $twice" | awk '{ printf "%-22s %10.1f\n", $1, ($5 - $3) / ($4 - $2) }'
}

print_table() {
  echo "# User instructions per unit, written by benches/count.sh --update."
  echo "# $(rustc --version), $(valgrind --version), $(uname -m)"
  for case in "${CASES[@]}"; do count "$case"; done
}

# The counts beside the table; fails where one is too high, or not in the table.
compare() {
  awk -v tolerance="$TOLERANCE" '
    /^#/ { next }
    NR == FNR { want[$1] = $2; next }
    !($1 in want) { printf "%-22s %10.1f   not in the table\n", $1, $2; failed++; next }
    {
      change = ($2 / want[$1] - 1) * 100
      verdict = "ok"; passed++
      if (change > tolerance) { verdict = "TOO MANY"; failed++; passed-- }
      if (change < -tolerance) verdict = "ok, and to be written down: benches/count.sh --update"
      printf "%-22s %10.1f   table %10.1f   %+6.1f %%   %s\n", $1, $2, want[$1], change, verdict
    }
    END { printf "%d passed, %d failed, 0 skipped\n", passed, failed; exit (failed > 0 || passed == 0) }
  ' "$TABLE" -
}

command -v valgrind >/dev/null || { echo "valgrind is missing: Debian has a package of that name" >&2; exit 1; }
PROGRAM=$(build)
if [ "${1:-}" = --update ]; then
  print_table >"$TABLE.new" && mv "$TABLE.new" "$TABLE"
  cat "$TABLE"
else
  grep -qF "$(rustc --version)" "$TABLE" || echo "the table was counted with another compiler: $(sed -n 2p "$TABLE")"
  print_table | compare
fi
