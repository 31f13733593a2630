//! Training as a user meets it: killed, interrupted, out of disk, misspelt; told through the binary.

mod runs;

use runs::{Setting, TINY, same_run, succeeds, text};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Waits until the run has written so many lines of metrics.
fn wait_for_steps(folder: &Path, lines: usize, child: &mut Child) {
    let began = Instant::now();
    loop {
        let written = fs::read_to_string(folder.join("metrics.jsonl")).unwrap_or_default();
        if written.lines().count() >= lines {
            return;
        }
        let ended = child.try_wait().expect("a child");
        assert!(ended.is_none(), "the run ended before {lines} lines of metrics: {ended:?}");
        assert!(began.elapsed() < Duration::from_secs(60), "no {lines} lines of metrics");
        sleep(Duration::from_millis(2));
    }
}

mod g17_kill_and_resume {
    use super::*;

    #[test]
    fn a_run_killed_at_five_random_points_and_resumed_equals_the_undisturbed_run() {
        let setting = Setting::new();
        let began = Instant::now();
        succeeds(&setting.run(&["train", "tiny.toml", "--out", "undisturbed", "--quiet"]));
        let whole = began.elapsed().as_secs_f64();
        // Five lives of a random share of the time a whole run takes; each may end anywhere, in a checkpoint too.
        let mut bits = std::process::id();
        for _ in 0..5 {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let share = f64::from(bits >> 8) / f64::from(1 << 24);
            let mut child = setting.go_on("killed");
            sleep(Duration::from_secs_f64(0.5 * whole * share));
            child.kill().expect("SIGKILL");
            child.wait().expect("the child ends");
        }
        assert!(setting.go_on("killed").wait().expect("the child ends").success());
        same_run(&setting.path("undisturbed"), &setting.path("killed"));
        let verdicts = |out: &str| fs::read(setting.path(out).join("verdicts.jsonl")).unwrap();
        assert_eq!(verdicts("undisturbed"), verdicts("killed"));
    }

    /// A clock that jumped leaves files from another time and a record that began then.
    #[test]
    fn a_clock_that_jumps_changes_nothing() {
        const YEARS: u64 = 365 * 24 * 3600;
        let setting = Setting::new();
        succeeds(&setting.run(&["train", "tiny.toml", "--out", "undisturbed", "--quiet"]));
        for (out, unix) in [("past", YEARS), ("future", 130 * YEARS)] {
            let mut child = setting.go_on(out);
            wait_for_steps(&setting.path(out), 8, &mut child);
            child.kill().expect("SIGKILL");
            child.wait().expect("the child ends");
            let path = setting.path(out).join("run.json");
            let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            record["started_unix"] = unix.into();
            fs::write(&path, serde_json::to_vec_pretty(&record).unwrap()).unwrap();
            let then = UNIX_EPOCH + Duration::from_secs(unix);
            for file in ["run.json", "metrics.jsonl", "checkpoints"] {
                let file = fs::File::open(setting.path(out).join(file)).expect("a file");
                file.set_modified(then).expect("a time");
            }
            let listed = setting.run(&["runs", "."]);
            succeeds(&listed);
            let listed = text(&listed.stdout);
            assert!(listed.lines().any(|l| l.contains(out) && l.contains("killed")), "{listed}");
            assert!(setting.go_on(out).wait().expect("the child ends").success());
            same_run(&setting.path("undisturbed"), &setting.path(out));
        }
    }

    #[test]
    fn one_thread_and_two_give_the_same_bytes() {
        let setting = Setting::new();
        for threads in ["1", "2"] {
            let arguments =
                ["train", "tiny.toml", "--quiet", "--out", threads, "--threads", threads];
            succeeds(&setting.run(&arguments));
        }
        same_run(&setting.path("1"), &setting.path("2"));
    }

    #[test]
    #[cfg(unix)]
    fn ctrl_c_and_sigterm_write_a_checkpoint_and_exit_130_and_143() {
        let setting = Setting::new();
        succeeds(&setting.run(&["train", "tiny.toml", "--out", "undisturbed", "--quiet"]));
        for (signal, code) in [("INT", 130), ("TERM", 143)] {
            let mut child = setting.go_on(signal);
            wait_for_steps(&setting.path(signal), 3, &mut child);
            runs::signal(&child, signal);
            assert_eq!(child.wait().expect("the child ends").code(), Some(code));
            let record = fs::read(setting.path(signal).join("run.json")).expect("a record");
            let record: Value = serde_json::from_slice(&record).expect("JSON");
            assert_eq!(record["status"], "interrupted");
            assert!(setting.go_on(signal).wait().expect("the child ends").success());
            same_run(&setting.path("undisturbed"), &setting.path(signal));
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_full_disk_is_a_clear_error_and_the_run_goes_on_once_there_is_room() {
        let setting = Setting::new();
        succeeds(&setting.run(&["train", "tiny.toml", "--out", "undisturbed", "--quiet"]));
        let mut child = setting.go_on("full");
        wait_for_steps(&setting.path("full"), 3, &mut child);
        child.kill().expect("SIGKILL");
        child.wait().expect("the child ends");
        let before = checkpoints(&setting.path("full"));
        // A limit of 8 blocks of 512 bytes is smaller than the model; without the trap the signal would end the program.
        let script = format!(
            "trap '' XFSZ; ulimit -f 16; exec '{}' train tiny.toml --out full --resume --quiet",
            env!("CARGO_BIN_EXE_adamant")
        );
        let output = Command::new("sh")
            .args(["-c", &script])
            .current_dir(setting.folder.path())
            .output()
            .expect("sh");
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains("the disk is full or a size limit is reached"), "{message}");
        assert!(
            message.contains("full/metrics.jsonl") && message.contains("--resume"),
            "{message}"
        );
        assert_eq!(checkpoints(&setting.path("full")), before);
        assert!(setting.go_on("full").wait().expect("the child ends").success());
        same_run(&setting.path("undisturbed"), &setting.path("full"));
    }

    fn checkpoints(run: &Path) -> Vec<String> {
        let entries = fs::read_dir(run.join("checkpoints")).expect("checkpoints");
        let mut names: Vec<String> = entries
            .map(|e| e.expect("an entry").file_name().into_string().expect("text"))
            .collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        names
    }
}

#[test]
fn a_training_run_ends_with_a_table_of_both_branches_and_the_paths_of_its_files() {
    let setting = Setting::new();
    let output = setting.run(&["train", "tiny.toml", "--set", "training.epochs=1"]);
    succeeds(&output);
    let table = text(&output.stdout);
    for part in
        ["adversarial branch", "clean branch", "fgsm", "pgd-2", "runs/tiny/best.safetensors"]
    {
        assert!(table.contains(part), "{table}");
    }
    // A second run does not overwrite the first.
    succeeds(&setting.run(&["train", "tiny.toml", "--set", "training.epochs=1", "--quiet"]));
    for file in ["evaluation.json", "evaluation-clean/evaluation.json", "metrics.jsonl"] {
        assert!(setting.path("runs/tiny").join(file).is_file());
        assert!(setting.path("runs/tiny-2").join(file).is_file());
    }
}

#[test]
fn the_result_as_json_stands_alone_on_standard_output() {
    let setting = Setting::new();
    let output = setting.run(&["train", "tiny.toml", "--json", "--set", "training.epochs=1"]);
    succeeds(&output);
    let result: Value = serde_json::from_slice(&output.stdout).expect("JSON alone");
    assert_eq!(result["evaluations"][0]["branch"], "adversarial");
    assert_eq!(result["evaluations"][1]["branch"], "clean");
    assert_eq!(result["evaluations"][0]["samples"], 40);
}

#[test]
fn what_is_wrong_with_a_recipe_is_told_with_exit_code_2_and_no_folder_appears() {
    let setting = Setting::new();
    let no_path = ["train", "quikstart"];
    let absent = ["train", "absent.toml"];
    let misspelt = ["train", "tiny.toml", "--set", "attack.epsilom=0.1"];
    let eight = ["train", "tiny.toml", "--set", "attack.epsilon=8"];
    let unknown = ["train", "tiny.toml", "--data", "fashion"];
    fs::write(setting.path("typo.toml"), TINY.replace("steps = 2", "stepps = 2"))
        .expect("a recipe");
    let typo = ["train", "typo.toml"];
    let in_pixels = TINY.replace("epsilon = 0.1", "epsilon = 8");
    fs::write(setting.path("pixels.toml"), in_pixels).expect("a recipe");
    let pixels = ["train", "pixels.toml"];
    for (arguments, parts) in [
        (&no_path[..], &["quikstart", "quickstart", "paper_r152"][..]),
        (&absent, &["absent.toml"]),
        (&misspelt, &["--set: attack.epsilom", "did you mean attack.epsilon?", "attack.steps"]),
        (&eight, &["--set: attack.epsilon is 8, above 1", "hint:", "8/255"]),
        (&unknown, &["data.source", "fashion-sample"]),
        (&typo, &["typo.toml: attack.stepps", "did you mean attack.steps?", "attack.restarts"]),
        (&pixels, &["pixels.toml: attack.epsilon is 8, above 1", "hint:", "8/255"]),
    ] {
        let output = setting.run(arguments);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        for part in parts {
            assert!(message.contains(part), "{arguments:?}: {message}");
        }
    }
    assert!(!setting.path("runs").exists());
}

#[test]
fn a_resumed_run_with_another_recipe_is_refused_by_the_keys_name() {
    let setting = Setting::new();
    let short = ["train", "tiny.toml", "--out", "run", "--quiet", "--set", "training.epochs=1"];
    succeeds(&setting.run(&short));
    let output = setting.run(&["train", "tiny.toml", "--out", "run", "--resume"]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("training.epochs is 6, but the run was started with 1"), "{message}");
    // Its own recipe is what it is resumed with where none is named.
    succeeds(&setting.run(&["train", "--out", "run", "--resume", "--quiet"]));
}

#[test]
fn a_truncated_file_of_images_is_named() {
    let setting = Setting::new();
    let path = setting.path("images/train-images-idx3-ubyte");
    let whole = fs::read(&path).expect("images");
    fs::write(&path, &whole[..whole.len() - 100]).expect("images");
    let output = setting.run(&["train", "tiny.toml"]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(
        message.contains("train-images-idx3-ubyte") && message.contains("expected"),
        "{message}"
    );
}

#[test]
fn a_picture_that_cannot_be_decoded_is_named_and_no_step_is_made() {
    let setting = Setting::new();
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/pictures");
    let picture = fs::read(pictures.join("colour444.jpg")).expect("a picture");
    for class in ["cat", "dog"] {
        for part in ["train", "test"] {
            let folder = setting.path("photos").join(part).join(class);
            fs::create_dir_all(&folder).expect("a folder");
            for number in 0..20 {
                fs::write(folder.join(format!("{number}.jpg")), &picture).expect("a picture");
            }
        }
    }
    let broken = setting.path("photos/train/dog/7.jpg");
    fs::write(&broken, &picture[..picture.len() / 2]).expect("a picture");
    let output = setting.run(&["train", "tiny.toml", "--data", "folder:photos"]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("7.jpg"), "{message}");
}

#[test]
fn a_source_without_test_images_is_judged_on_those_held_out_from_training() {
    let setting = Setting::new();
    let mut records = Vec::new();
    for image in 0..60_u32 {
        records.push((image % 2) as u8);
        records.extend(
            (0..3072_u32).map(|pixel| (image % 2 * 120 + (image * 31 + pixel * 7) % 100) as u8),
        );
    }
    fs::write(setting.path("some.bin"), records).expect("records");
    let held_out = "data.validation=12";
    let data = ["train", "tiny.toml", "--data", "bin:some.bin", "--out", "run", "--set", held_out];
    let output = setting.run(&[&data[..], &["--set", "training.epochs=1"]].concat());
    succeeds(&output);
    let table = text(&output.stdout);
    assert!(table.contains("12 held-out images of bin:some.bin"), "{table}");
    assert!(table.contains("bin:some.bin has no test images"), "{table}");
    let verdicts = fs::read_to_string(setting.path("run/verdicts.jsonl")).expect("verdicts");
    assert_eq!(verdicts.lines().count(), 12);
}

#[test]
fn a_run_goes_on_in_the_precision_it_began_with_and_its_folder_says_which() {
    let setting = Setting::new();
    let short = ["--set", "training.epochs=1", "--out", "run"];
    let train =
        |flags: &[&str]| setting.run(&[&["train", "tiny.toml"], &short[..], flags].concat());
    let begun = train(&["--precision", "bf16"]);
    assert!(begun.status.success(), "{}", String::from_utf8_lossy(&begun.stderr));
    let recipe = fs::read_to_string(setting.path("run/recipe.toml")).expect("a recipe");
    assert!(recipe.contains("precision = \"bf16\""), "{recipe}");
    let record = fs::read_to_string(setting.path("run/run.json")).expect("a record");
    let record: Value = serde_json::from_str(&record).expect("JSON");
    assert_eq!(record["precision"], "bf16");
    let judged = fs::read_to_string(setting.path("run/evaluation.json")).expect("an evaluation");
    let judged: Value = serde_json::from_str(&judged).expect("JSON");
    assert_eq!(judged["precision"], "f32", "a run is judged in single precision");

    assert!(train(&["--resume"]).status.success(), "unsaid is as it began");
    let changed = train(&["--resume", "--precision", "f32"]);
    assert_eq!(changed.status.code(), Some(2));
    let message = String::from_utf8_lossy(&changed.stderr).into_owned();
    assert!(message.contains("training.precision"), "{message}");
}

#[test]
fn auto_is_written_down_as_what_it_meant() {
    let setting = Setting::new();
    let done = setting.run(&["train", "tiny.toml", "--set", "training.epochs=1", "--out", "run"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let recipe = fs::read_to_string(setting.path("run/recipe.toml")).expect("a recipe");
    let line = recipe.lines().find(|line| line.starts_with("precision = "));
    assert!(matches!(line, Some("precision = \"f32\"" | "precision = \"bf16\"")), "{recipe}");
}
