#!/usr/bin/env bash
# run.sh DIR: runs the programs of DIR, says which runs failed, goes on after a
# failure, and exits with 1 if there was any.
set -u
ulimit -c 0 # the failure is part of the show, its core file is not
cd "$1" || exit 2

failures=0

# verdict NAME STATUS...: the statuses of all the programs of one pipeline. What
# a writer gets when a later program has died (SIGPIPE, or a plain error where
# that is ignored) is not the cause: the highest other status is shown.
verdict() {
    local name=$1 status worst=0
    shift
    for status in "$@"; do
        if ((status != 141 && status > worst)); then
            worst=$status
        fi
    done
    if ((worst > 0)); then
        echo "FAIL  $name (status $worst)"
        failures=$((failures + 1))
    else
        echo "ok    $name"
    fi
}

./gen 40 >few.dat
verdict "gen, few" $?

./gen 5000 >many.dat
verdict "gen, many" $?

./stats many.dat >many.txt
verdict "stats of a file" $?

./rank <many.txt | ./report >ranked.txt
verdict "rank and report" "${PIPESTATUS[@]}"

./gen 40 | ./stats | ./report >few.txt
verdict "pipeline, few" "${PIPESTATUS[@]}"

./gen 5000 | ./stats --strict | ./report >strict.txt
verdict "pipeline, many, strict" "${PIPESTATUS[@]}"

./stats few.dat | ./rank | ./report >warmest.txt
verdict "pipeline, warmest" "${PIPESTATUS[@]}"

if ((failures > 0)); then
    echo "$failures of the runs failed"
    exit 1
fi
