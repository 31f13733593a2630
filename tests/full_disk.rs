//! A disk that fills up, or no longer lets itself be written, while a run writes to it.
//!
//! The disk is a small tmpfs in a mount namespace of its own, which needs no rights where user namespaces are allowed.
//! Where they are not, a limit on file sizes stands for it: writes then fail in the same places. Root may write anywhere, so
//! that what is told of rights is told as the user nobody.
#![cfg(target_os = "linux")]

mod runs;

use runs::{Setting, same_run, succeeds, text};
use std::fs;
use std::process::{Command, Output};

/// Long enough for the disk to change under it.
const LONGER: [&str; 2] = ["--set", "training.epochs=10"];

/// Fills the disk once six steps are done, lets the run come to its end, makes room and resumes it.
const ON_A_SMALL_DISK: &str = r#"
mkdir disk
mount -t tmpfs -o size=2m tmpfs disk || exit 77
"$ADAMANT" train tiny.toml --out disk/run $MORE 2>full.log >full.out &
run=$!
while [ "$(wc -l 2>/dev/null <disk/run/metrics.jsonl || echo 0)" -lt 6 ] && kill -0 $run; do sleep 0.002; done
head -c 8m /dev/zero >disk/filler 2>/dev/null
wait $run
echo $? >full.code
ls disk/run/checkpoints >full.kept
rm disk/filler
"$ADAMANT" train --out disk/run --resume 2>resumed.log >resumed.out || exit 1
cp -r disk/run out
"#;

/// The same with a size limit that the model's file exceeds, from the sixth step on.
const WITH_A_SIZE_LIMIT: &str = r#"
trap '' XFSZ
"$ADAMANT" train tiny.toml --out out $MORE --quiet &
run=$!
while [ "$(wc -l 2>/dev/null <out/metrics.jsonl || echo 0)" -lt 6 ] && kill -0 $run; do sleep 0.002; done
kill -TERM $run
wait $run
(ulimit -f 16; "$ADAMANT" train --out out --resume 2>full.log >full.out)
echo $? >full.code
ls out/checkpoints >full.kept
"$ADAMANT" train --out out --resume 2>resumed.log >resumed.out || exit 1
"#;

/// Takes the right to write away once six steps are done, lets the run come to its end, gives it back and resumes.
const WITHOUT_THE_RIGHT: &str = r#"
cp "$ADAMANT" adamant
as=env
if [ "$(id -u)" = 0 ]; then
    chown -R 65534:65534 .
    as="setpriv --reuid 65534 --regid 65534 --clear-groups"
fi
$as ./adamant train tiny.toml --out out $MORE 2>full.log >full.out &
run=$!
while [ "$(wc -l 2>/dev/null <out/metrics.jsonl || echo 0)" -lt 6 ] && kill -0 $run; do sleep 0.002; done
chmod a-w out out/checkpoints
wait $run
echo $? >full.code
ls out/checkpoints >full.kept
chmod u+w out out/checkpoints
$as ./adamant train --out out --resume 2>resumed.log >resumed.out || exit 1
"#;

fn in_a_shell(setting: &Setting, command: &mut Command, script: &str) -> Output {
    command
        .args(["sh", "-c", script])
        .current_dir(setting.folder.path())
        .env("ADAMANT", env!("CARGO_BIN_EXE_adamant"))
        .env("MORE", LONGER.join(" "))
        .output()
        .expect("a shell")
}

fn undisturbed() -> Setting {
    let setting = Setting::new();
    let command = ["train", "tiny.toml", "--out", "undisturbed", "--quiet"];
    succeeds(&setting.run(&[&command[..], &LONGER].concat()));
    setting
}

/// It was told while training went on, and ended in an error that says what to do; resumed, nothing is missing.
fn told_and_made_good(setting: &Setting, outcome: &Output, reason: &str) {
    let read = |name: &str| fs::read_to_string(setting.path(name)).unwrap_or_default();
    let told = format!("{}\n{}\n{}", read("full.log"), read("resumed.log"), text(&outcome.stderr));
    assert!(outcome.status.success(), "{told}");
    assert_eq!(read("full.code").trim(), "1", "{told}");
    for part in ["warning: ", "training goes on", reason, "error: ", "--resume"] {
        assert!(read("full.log").contains(part), "no {part:?} in {told}");
    }
    assert!(read("full.kept").lines().any(|name| name.starts_with("step-")), "{told}");
    assert!(!read("full.log").contains("damaged") && !read("resumed.log").contains("damaged"));
    same_run(&setting.path("undisturbed"), &setting.path("out"));
}

#[test]
fn g17_a_right_to_write_that_is_lost_in_mid_run_costs_nothing_that_was_kept() {
    let setting = undisturbed();
    let outcome = in_a_shell(&setting, &mut Command::new("env"), WITHOUT_THE_RIGHT);
    told_and_made_good(&setting, &outcome, "give the right to write back");
}

#[test]
fn g17_a_disk_that_fills_up_in_mid_run_costs_nothing_that_was_kept() {
    let setting = undisturbed();
    let mut outcome =
        in_a_shell(&setting, Command::new("unshare").args(["-r", "-m"]), ON_A_SMALL_DISK);
    if !setting.path("full.code").exists() {
        println!(
            "no tmpfs can be mounted here, a size limit stands for it: {}",
            text(&outcome.stderr)
        );
        outcome = in_a_shell(&setting, &mut Command::new("env"), WITH_A_SIZE_LIMIT);
    }
    told_and_made_good(&setting, &outcome, "the disk is full");
}
