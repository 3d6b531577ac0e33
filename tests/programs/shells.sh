# packages: bash dash busybox-static|busybox
for sh in bash dash; do
    $sh -c 'x=0; while [ $x -lt 5 ]; do x=$((x + 1)); echo $x; done | tac'
    $sh -c 'trap "echo bye" EXIT; (exit 3); echo $?; set -- a b c; shift; echo "$@" $#'
    $sh -c 'cat <<T
here $((6 * 7))
T
false | true; echo $?; sleep 5 & kill $!; wait $!; echo $?'
    seq 3 | $sh -c 'while read -r n; do echo "<$n>"; done'
done
bash -c 'set -o pipefail; false | true; echo $?; coproc cat; echo hi >&${COPROC[1]}; read -r l <&${COPROC[0]}; echo $l'
bash -c 'diff <(seq 3) <(seq 4); mapfile -t a < <(seq 5); echo ${#a[@]} ${a[@]:1:2}; printf "%q\n" "a b"'
bash -c 'shopt -s globstar; mkdir -p d/e; touch d/e/f; echo **; exec 9>lock; flock 9; echo locked'
bash --norc -ic 'sleep 0.5 & fg; echo $?' 2>/dev/null
busybox sh -c 'i=0; while [ $i -lt 200 ]; do i=$((i + 1)); echo $i | busybox cat | busybox tr 0-4 5-9; (exit $((i % 7))) || n=$((n + 1)); done | busybox md5sum; wait'
