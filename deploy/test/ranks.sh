#!/usr/bin/env bash
# What several processes must do, with the real launcher: the same network as one process, an end in time when a rank is
# lost, the same bytes after a resume, the same ledger whatever the number of ranks.
#   ranks.sh ADAMANT [hosts]      ADAMANT is built with --features mpi; `hosts` adds two hosts (root, iproute2)
set -euo pipefail
adamant=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap '"$here/pair.sh" down; rm -rf "$work"' EXIT
cd "$work"
mpi=(mpirun --allow-run-as-root --oversubscribe --bind-to none --mca mpi_yield_when_idle 1
    --mca btl_vader_single_copy_mechanism none -n)
ranks() { "${mpi[@]}" "$@"; }
cat > tiny.toml <<'RECIPE'
[data]
source = "fashion-sample"
validation = 60
[network]
architecture = "resnet8-cifar"
width = 8
[attack]
steps = 2
[training]
epochs = 1
batch_size = 128
workers = 4
checkpoint_every_steps = 10
[evaluation]
select_by = "pgd-2"
attacks = ["pgd-2"]
samples = 50
RECIPE
train=("$adamant" train --threads 1 --quiet)
fail() { echo "FAILED: $1"; exit 1; }
same() { cmp whole/last.safetensors "$1/last.safetensors" || fail "$1 is another network"; echo "ok: $2"; }

"${train[@]}" tiny.toml --out whole > /dev/null
ranks 2 "${train[@]}" tiny.toml --out two > /dev/null
same two "two ranks train the network of one, byte for byte"
cmp whole/verdicts.jsonl two/verdicts.jsonl || fail "two ranks judge the network they have trained differently"

# Synchronised batch norm, for 20 steps: one process and two ranks differ by the order of sums alone.
synchronised=("${train[@]}" tiny.toml --set training.batch_moments=synchronised
    --set data.validation=7440 --set evaluation.select_by=clean --set training.precision=f32)
"${synchronised[@]}" --out synchronised-1 > /dev/null
ranks 2 "${synchronised[@]}" --out synchronised-2 > /dev/null
python3 - << 'PYTHON' || fail "synchronised batch norm on two ranks gives another network"
import array, json, struct
def values(folder):
    data = open(folder + "/last.safetensors", "rb").read()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    for name, tensor in sorted(header.items()):
        begin, end = tensor["data_offsets"]
        yield from array.array("f", data[8 + length + begin:8 + length + end])
one, two = list(values("synchronised-1")), list(values("synchronised-2"))
largest = max(map(abs, one))
apart = max(abs(a - b) for a, b in zip(one, two)) / largest
# An attack turns the sign of a gradient near zero into a whole step.
assert len(one) == len(two) and apart < 1e-3, apart
print(f"ok: two ranks with synchronised batch norm train the network of one but for {apart:.1e} of the largest value")
PYTHON

# lose NAME LAUNCHER...: in mid-training something happens to rank 1; the job ends, and a resumed one equals the whole.
lose() {
    local name=$1 launcher began status=0
    shift
    GRACE=5 "$here/../watched.sh" "$@" "${train[@]}" tiny.toml --out "$name" --rank-timeout 5 > "$name.log" 2>&1 &
    launcher=$!
    until [ -d "$name/checkpoints/step-10" ]; do
        kill -0 $launcher 2> /dev/null || { cat "$name.log"; fail "$name ended early"; }
        sleep 0.1
    done
    # Rank 1 is started last.
    victim=$(pgrep -f "^$adamant train .*--out $name" | sort -n | tail -1)
    began=$(date +%s%N)
    case $name in
    killed*) kill -KILL "$victim" ;;
    stopped*) kill -STOP "$victim" ;;
    cut*) "$here/pair.sh" cut ;;
    esac
    wait $launcher || status=$?
    local seconds=$((($(date +%s%N) - began) / 1000000000))
    kill -KILL "$victim" 2> /dev/null || true
    grep -m1 "did not answer" "$name.log" || true
    [ $status -ne 0 ] || fail "$name: the job ended with status 0"
    [ $seconds -le 30 ] || fail "$name: the job took $seconds s to end"
    ranks 1 "${train[@]}" --resume --out "$name" > /dev/null
    same "$name" "$name: status $status after $seconds s, the resumed run is the undisturbed one"
}
lose killed "${mpi[@]}" 2
lose stopped "${mpi[@]}" 2

# 1,003 images over 1, 2 and 3 ranks: a remainder for each. Their pixels are the program's own bytes; about a tenth of the
# labels is right by chance.
mkdir data
for part in train t10k; do
    { printf '\x00\x00\x08\x03\x00\x00\x03\xeb\x00\x00\x00\x1c\x00\x00\x00\x1c'; head -c $((1003 * 784)) "$adamant"; } \
        > data/$part-images-idx3-ubyte
    { printf '\x00\x00\x08\x01\x00\x00\x03\xeb'; for _ in $(seq 100); do printf '\0\1\2\3\4\5\6\7\10\11'; done; printf '\3\2\1'; } \
        > data/$part-labels-idx1-ubyte
done
evaluate=("$adamant" evaluate whole/last.safetensors --data idx:data --threads 1 --quiet)
"${evaluate[@]}" --attacks pgd-2 --out judged-1 > /dev/null
"$adamant" merge judged-1 --out merged-1 --quiet > /dev/null
for size in 2 3; do
    ranks $size "${evaluate[@]}" --attacks pgd-2 --out "judged-$size" > /dev/null
    cmp merged-1/ledger.jsonl "judged-$size/ledger.jsonl" || fail "another ledger over $size ranks"
    cmp merged-1/verdicts.jsonl "judged-$size/verdicts.jsonl" || fail "other verdicts over $size ranks"
    echo "ok: 1,003 images over $size ranks give the ledger of one process"
done

# An evaluation that loses a rank goes on with three, and with one.
"${evaluate[@]}" --attacks pgd-20-5 --out undisturbed > /dev/null
for size in 3 1; do
    status=0
    "${mpi[@]}" 2 "${evaluate[@]}" --attacks pgd-20-5 --batch-size 16 --out "lost-$size" > lost.log 2>&1 &
    launcher=$!
    until grep -qs '"stage":"attack"' "lost-$size/rank-1/ledger.jsonl"; do
        kill -0 $launcher 2> /dev/null || { cat lost.log; fail "the evaluation ended early"; }
        sleep 0.02
    done
    kill -KILL "$(pgrep -f "^$adamant evaluate .*--out lost-$size" | sort -n | tail -1)"
    wait $launcher || status=$?
    [ $status -ne 0 ] || fail "an evaluation that lost a rank ended with status 0"
    done=$(cat "lost-$size/ledger.jsonl" "lost-$size/rank-1/ledger.jsonl" | wc -l)
    ranks $size "${evaluate[@]}" --attacks pgd-20-5 --batch-size 16 --out "lost-$size" --resume > /dev/null
    cmp undisturbed/verdicts.jsonl "lost-$size/verdicts.jsonl" || fail "other verdicts after a rank was lost"
    echo "ok: status $status when rank 1 is killed after $done records; $size ranks give the verdicts of one process"
done

if [ "${2:-}" = hosts ]; then
    "$here/pair.sh" down
    "$here/pair.sh" up
    "$here/pair.sh" run "${train[@]}" tiny.toml --out hosts > /dev/null
    same hosts "two hosts train the network of one process"
    "$here/pair.sh" run "${evaluate[@]}" --attacks pgd-2 --out judged-hosts > /dev/null
    cmp merged-1/ledger.jsonl judged-hosts/ledger.jsonl || fail "another ledger over two hosts"
    echo "ok: two hosts give the ledger of one process"
    lose cut-off "$here/pair.sh" run
fi
