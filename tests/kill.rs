//! Runs that are killed with SIGKILL in each of their phases end, resumed, in the bytes of the run that was not.
//!
//! `benches/kill/kill.py` does the same at fifty random instants of a real run.
#![cfg(unix)]

mod runs;

use runs::{Setting, metrics, same_run, succeeds, text};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Waits for a moment of a run, then kills it; a run that ended before is as good a point as any.
fn kill_when(child: &mut Child, moment: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while !moment() {
        if child.try_wait().expect("a child").is_some() {
            return false;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "the moment never came");
        sleep(Duration::from_micros(100));
    }
    child.kill().expect("SIGKILL");
    child.wait().expect("the child ends");
    true
}

fn lines(file: &Path) -> usize {
    fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

fn is_writing_a_checkpoint(run: &Path) -> bool {
    let entries = fs::read_dir(run.join("checkpoints")).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().ends_with(".partial"))
}

/// Everything a run concludes, without what a clock says.
fn conclusions(run: &Path) -> Vec<(String, Vec<u8>)> {
    let folders = ["", "evaluation-clean", "evaluation-last", "evaluation-last-clean"];
    let mut all = Vec::new();
    for folder in folders {
        let verdicts = run.join(folder).join("verdicts.jsonl");
        all.push((verdicts.display().to_string(), fs::read(&verdicts).expect("verdicts")));
    }
    all
}

#[test]
fn g17_a_run_killed_in_each_of_its_phases_ends_in_the_bytes_of_the_undisturbed_one() {
    let setting = Setting::new();
    succeeds(&setting.run(&["train", "tiny.toml", "--out", "undisturbed", "--quiet"]));
    let killed = setting.path("killed");
    let steps = |count: usize| {
        let file = killed.join("metrics.jsonl");
        move || lines(&file) >= count
    };
    // At the start; in a step; in a checkpoint; in the next; while the last model is judged.
    let mut struck = 0;
    struck += usize::from(kill_when(&mut setting.go_on("killed"), || killed.is_dir()));
    struck += usize::from(kill_when(&mut setting.go_on("killed"), steps(5)));
    let writing = || lines(&killed.join("metrics.jsonl")) > 8 && is_writing_a_checkpoint(&killed);
    struck += usize::from(kill_when(&mut setting.go_on("killed"), writing));
    struck += usize::from(kill_when(&mut setting.go_on("killed"), steps(30)));
    let judged = || killed.join("evaluation-last").exists();
    struck += usize::from(kill_when(&mut setting.go_on("killed"), judged));
    assert!(struck >= 3, "the run ended {} times before it could be killed", 5 - struck);
    assert!(setting.go_on("killed").wait().expect("the child ends").success());
    same_run(&setting.path("undisturbed"), &killed);
    let names = |(name, bytes): (String, Vec<u8>)| (name.replace("killed", "undisturbed"), bytes);
    let of_killed: Vec<_> = conclusions(&killed).into_iter().map(names).collect();
    assert!(conclusions(&setting.path("undisturbed")) == of_killed);
}

#[test]
fn g17_sigusr1_writes_a_checkpoint_and_the_run_goes_on() {
    let setting = Setting::new();
    let slow = ["--set", "training.checkpoint_every_steps=0", "--set", "training.epochs=40"];
    let arguments = ["train", "tiny.toml", "--out", "run", "--quiet"];
    let mut child = setting.spawn(&[&arguments[..], &slow].concat());
    let metrics = setting.path("run/metrics.jsonl");
    while lines(&metrics) < 8 {
        sleep(Duration::from_millis(1));
    }
    let kept = || -> Vec<u64> {
        let entries = fs::read_dir(setting.path("run/checkpoints")).into_iter().flatten().flatten();
        let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        entries.filter_map(|e| name(e).strip_prefix("step-")?.parse().ok()).collect()
    };
    // Six steps an epoch: the checkpoints of its end are told apart from one in the middle. A signal may come in an
    // epoch's last step, so it is sent until one was seen.
    let began = Instant::now();
    while !kept().iter().any(|step| step % 6 != 0) {
        runs::signal(&child, "USR1");
        sleep(Duration::from_millis(3));
        assert!(began.elapsed() < Duration::from_secs(30), "no checkpoint within an epoch");
        assert_eq!(child.try_wait().expect("a child"), None, "the run goes on");
    }
    runs::signal(&child, "TERM");
    assert_eq!(child.wait().expect("the child ends").code(), Some(143));
}

#[test]
fn a_bare_resume_finds_the_run_that_is_not_done_and_runs_lists_how_all_stand() {
    let setting = Setting::new();
    let short = ["train", "tiny.toml", "--quiet", "--set", "training.epochs=1"];
    succeeds(&setting.run(&short));
    let mut child = setting.spawn(&["train", "tiny.toml", "--quiet"]);
    assert!(kill_when(&mut child, || lines(&setting.path("runs/tiny-2/metrics.jsonl")) > 3));
    succeeds(&setting.run(&[&short[..], &["--out", "runs/later"]].concat()));

    let listed = setting.run(&["runs", "--json"]);
    succeeds(&listed);
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let status = |name: &str| {
        let mut runs = listed.as_array().expect("a list").iter();
        runs.find(|run| run["folder"] == name).expect("the run is listed").clone()
    };
    assert_eq!(status("runs/tiny")["status"], "finished");
    assert_eq!(status("runs/tiny")["best"]["attack"], "pgd-2");
    assert_eq!(
        (&status("runs/tiny-2")["status"], &status("runs/tiny-2")["steps"]),
        (&"killed".into(), &36.into())
    );
    let table = text(&setting.run(&["runs"]).stdout);
    for part in ["runs/later", "killed", "continue with adamant train --resume --out runs/tiny-2"] {
        assert!(table.contains(part), "{table}");
    }
    let absent = setting.run(&["runs", "nowhere"]);
    assert_eq!(absent.status.code(), Some(1));
    assert!(text(&absent.stderr).contains("nowhere"), "{}", text(&absent.stderr));

    let resumed = setting.run(&["train", "--resume"]);
    succeeds(&resumed);
    assert!(text(&resumed.stderr).contains("resuming runs/tiny-2"), "{}", text(&resumed.stderr));
    assert_eq!(metrics(&setting.path("runs/tiny-2")).len(), 36 + 6);
    let empty = tempfile::tempdir().expect("a folder");
    let none = setting.command(&["train", "--resume"]).current_dir(empty.path()).output().unwrap();
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stderr).contains("no run to resume"), "{}", text(&none.stderr));
}

#[test]
fn a_key_is_changed_on_resume_where_it_is_named_and_the_record_says_so() {
    let setting = Setting::new();
    let short = ["train", "tiny.toml", "--out", "run", "--quiet", "--set", "training.epochs=1"];
    succeeds(&setting.run(&short));
    let longer = ["train", "tiny.toml", "--out", "run", "--resume", "--set", "training.epochs=2"];
    let refused = setting.run(&[&longer[..], &["--set", "attack.steps=1"]].concat());
    let message = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{message}");
    for part in [
        "attack.steps is 1, but the run was started with 2",
        "training.epochs is 2, but the run was started with 1",
        "--allow-change attack.steps --allow-change training.epochs",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let allowed = ["--allow-change", "training.epochs"];
    succeeds(&setting.run(&[&longer[..], &allowed].concat()));
    let record = fs::read(setting.path("run/run.json")).expect("a record");
    let record: Value = serde_json::from_slice(&record).expect("JSON");
    assert_eq!(record["step"], 12);
    assert_eq!(
        record["changes"],
        serde_json::json!([{"step": 6, "key": "training.epochs", "from": "1", "to": "2"}])
    );
    // From then on the changed recipe is the run's own.
    succeeds(&setting.run(&["train", "--out", "run", "--resume", "--quiet"]));
    let seed = ["--set", "training.seed=9", "--allow-change", "training.seed"];
    let refused = setting.run(&[&["train", "--out", "run", "--resume"][..], &seed].concat());
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("cannot be changed"), "{}", text(&refused.stderr));
}

#[test]
fn a_second_process_is_refused_and_told_who_writes_the_run() {
    let setting = Setting::new();
    let long = ["train", "tiny.toml", "--out", "run", "--quiet", "--set", "training.epochs=400"];
    let mut child = setting.spawn(&long);
    let began = Instant::now();
    while lines(&setting.path("run/metrics.jsonl")) < 1 {
        assert!(began.elapsed() < Duration::from_secs(60), "no step was made");
        sleep(Duration::from_millis(2));
    }
    let second = setting.run(&["train", "--out", "run", "--resume"]);
    let listed = text(&setting.run(&["runs", "."]).stdout);
    child.kill().expect("SIGKILL");
    child.wait().expect("the child ends");
    let message = text(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{message}");
    assert!(message.contains(&format!("process {} on", child.id())), "{message}");
    assert!(listed.contains("running"), "{listed}");
}
