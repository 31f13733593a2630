//! Stories of `adamant data`, told by the binary.

use std::fs;
use std::path::Path;
use std::process::Output;

fn adamant(home: &Path, arguments: &[&str]) -> Output {
    assert_cmd::Command::cargo_bin("adamant")
        .unwrap()
        .args(arguments)
        .env("ADAMANT_DATA", home)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_embedded_sample_is_described_without_any_file() {
    let home = tempfile::tempdir().unwrap();
    let output = adamant(home.path(), &["data", "info", "fashion-sample", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["shape"], serde_json::json!([1, 28, 28]));
    assert_eq!(json["classes"][9], "ankle boot");
    assert_eq!(json["parts"][0]["images"], 10_000);
    assert_eq!(json["parts"][1]["images"], 1_000);
    assert_eq!(json["parts"][1]["per_class"].as_array().unwrap().len(), 10);
    // The whole training set has mean 0.2860 and deviation 0.3530; a sixth of it is close.
    assert!((json["parts"][0]["mean"][0].as_f64().unwrap() - 0.286).abs() < 0.005);
    assert!((json["parts"][0]["standard_deviation"][0].as_f64().unwrap() - 0.353).abs() < 0.005);
    assert_eq!(json["parts"][0]["fingerprint"].as_str().unwrap().len(), 64);
}

#[test]
fn absent_data_says_where_it_was_looked_for_and_how_to_get_it() {
    let home = tempfile::tempdir().unwrap();
    let output = adamant(home.path(), &["data", "info", "cifar10"]);
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(message.contains(home.path().join("cifar10").to_str().unwrap()), "{message}");
    assert!(message.contains("hint: adamant data fetch cifar10"), "{message}");
}

#[test]
fn unknown_data_is_wrong_usage_and_lists_what_there_is() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [["data", "info", "imagnet"], ["data", "fetch", "imagnet"]] {
        let output = adamant(home.path(), &arguments);
        assert_eq!(output.status.code(), Some(2));
        let message = text(&output.stderr);
        assert!(message.contains("imagnet") && message.contains("cifar10"), "{message}");
    }
}

#[test]
fn a_fetch_with_a_wrong_checksum_fails_and_leaves_nothing_behind() {
    let (home, mirror) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(mirror.path().join("train-images-idx3-ubyte.gz"), "not the real one").unwrap();
    let from = mirror.path().to_str().unwrap();
    let output = adamant(home.path(), &["data", "fetch", "mnist", "--from", from, "--quiet"]);
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(message.contains("440fcabf73cc546f"), "{message}");
    assert_eq!(fs::read_dir(home.path().join("mnist")).unwrap().count(), 0);
}

#[test]
fn the_list_names_every_set_and_what_is_not_here() {
    let home = tempfile::tempdir().unwrap();
    let output = adamant(home.path(), &["data", "list"]);
    assert!(output.status.success());
    let list = text(&output.stdout);
    for word in ["fashion-sample", "fashion-mnist", "cifar100", "adamant data fetch mnist"] {
        assert!(list.contains(word), "{list}");
    }
}

#[test]
fn g31_corrupt_files_are_named() {
    let home = tempfile::tempdir().unwrap();
    let idx = home.path().join("idx");
    fs::create_dir(&idx).unwrap();
    fs::write(idx.join("train-images-idx3-ubyte"), [0, 0, 8, 3, 0, 0, 0, 2, 0, 0]).unwrap();
    fs::write(idx.join("train-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 0]).unwrap();
    let folder = home.path().join("pictures");
    for class in ["cat", "dog"] {
        fs::create_dir_all(folder.join(class)).unwrap();
        fs::write(folder.join(class).join("broken.jpg"), [0xff, 0xd8, 0xff, 0xdb, 0]).unwrap();
    }
    let bin = home.path().join("cut.bin");
    fs::write(&bin, [0; 4000]).unwrap();
    for (kind, path, word) in [
        ("idx", &idx, "train-images-idx3-ubyte"),
        ("folder", &folder, "cat/broken.jpg"),
        ("bin", &bin, "cut.bin: 4000 bytes, expected 3073"),
    ] {
        let source = format!("{kind}:{}", path.display());
        let output = adamant(home.path(), &["data", "info", &source]);
        assert_eq!(output.status.code(), Some(1));
        let message = text(&output.stderr);
        assert!(message.contains(word), "{message}");
    }
}

/// 90 images of CIFAR's format in three classes, as one whole.
fn ninety_images(home: &Path) -> String {
    let mut records = Vec::new();
    for image in 0..90_u32 {
        records.push((image % 3) as u8);
        records.extend((0..3072_u32).map(|pixel| (pixel * (image + 1) % 251) as u8));
    }
    let path = home.join("ninety.bin");
    fs::write(&path, records).unwrap();
    format!("bin:{}", path.display())
}

fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<(String, Vec<u8>)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.to_string_lossy().ends_with("-index"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into(), fs::read(path).unwrap()))
        .collect();
    found.sort();
    found
}

#[test]
fn a_prepared_set_is_the_set_whatever_its_form() {
    let home = tempfile::tempdir().unwrap();
    let data = ninety_images(home.path());
    let described = |source: &str| -> serde_json::Value {
        let output = adamant(home.path(), &["data", "info", source, "--json", "--quiet"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let original = described(&data);
    for (flag, form) in [("--shards", "shards"), ("--cache", "cache")] {
        let out = home.path().join(form);
        let out = out.to_str().unwrap();
        let arguments = ["data", "prepare", &data, "--out", out, flag, "--per-file", "40"];
        let output = adamant(home.path(), &[&arguments[..], &["--verify", "--json"]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&told["files"], &told["images"]), (&3.into(), &90.into()));
        assert_eq!(told["verified"], 4);
        assert_eq!(told["prepared"], format!("{form}:{out}"));
        let found = described(told["prepared"].as_str().unwrap());
        for key in ["images", "per_class", "mean", "standard_deviation", "fingerprint"] {
            assert_eq!(found["parts"][0][key], original["parts"][0][key], "{form} {key}");
        }
        assert_eq!(found["shape"], original["shape"]);
        assert_eq!(found["classes"], original["classes"]);
    }
}

#[test]
fn g17_a_preparation_killed_and_run_again_gives_the_bytes_of_one_that_was_not() {
    let home = tempfile::tempdir().unwrap();
    let data = ninety_images(home.path());
    let arguments = |out: &Path| {
        let out = out.to_str().unwrap().to_owned();
        ["data", "prepare", &data, "--out", &out, "--per-file", "2", "--quiet"].map(str::to_owned)
    };
    let whole = home.path().join("whole");
    let output =
        assert_cmd::Command::cargo_bin("adamant").unwrap().args(arguments(&whole)).output();
    assert!(output.unwrap().status.success());
    let killed = home.path().join("killed");
    let mut interrupted = 0;
    for after in [1, 7, 20] {
        let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin!("adamant"))
            .args(arguments(&killed))
            .spawn()
            .unwrap();
        let finished = || {
            let entries = fs::read_dir(&killed).into_iter().flatten().flatten();
            entries.filter(|e| e.path().extension().is_some_and(|e| e == "tar")).count()
        };
        while finished() < after && child.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        // SIGKILL: no handler of ours runs.
        interrupted += usize::from(child.kill().is_ok());
        child.wait().unwrap();
    }
    assert!(interrupted > 0);
    let output =
        assert_cmd::Command::cargo_bin("adamant").unwrap().args(arguments(&killed)).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("files were there already"), "{}", text(&output.stdout));
    assert_eq!(contents(&killed), contents(&whole));
}

#[test]
fn g31_corrupt_pictures_are_counted_and_listed_beside_the_sound_ones() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("pictures");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/pictures");
    for (to, from) in [
        ("cat/a.jpg", "grey.jpg"),
        ("cat/b.png", "colour444.png"),
        ("cat/c.png", "palette.png"),
        ("dog/a.jpg", "progressive.jpg"),
    ] {
        let to = folder.join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(fixtures.join(from), to).unwrap();
    }
    fs::write(folder.join("dog/empty.jpg"), "").unwrap();
    let source = format!("folder:{}", folder.display());
    let sheet = home.path().join("sheet.png");
    let arguments = ["data", "info", &source, "--sheet", sheet.to_str().unwrap(), "--json"];
    let output = adamant(home.path(), &arguments);
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(
        message.contains("images that do not decode: 1") && message.contains("dog/empty.jpg"),
        "{message}"
    );
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let part = &json["parts"][0];
    assert_eq!((&part["images"], &part["grey"]), (&5.into(), &1.into()));
    assert_eq!(part["corrupt"][0]["index"], 4);
    assert_eq!(part["sizes"]["smallest"], serde_json::json!([2, 2]));
    assert_eq!(part["per_class"], serde_json::json!([3, 2]));
    assert!(json["shape"].is_null() && part["fingerprint"].is_null());
    assert!(fs::read(&sheet).unwrap().starts_with(b"\x89PNG"));
    let output = adamant(home.path(), &["data", "info", &source]);
    let shown = text(&output.stdout);
    for word in ["2x2 to 29x37", "0 cat  3  60.0 %  ####", "corrupt, whole 4: ", "1 dog"] {
        assert!(shown.contains(word), "{shown}");
    }
}

#[test]
fn a_source_with_one_part_is_described_as_that_part() {
    let home = tempfile::tempdir().unwrap();
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/parquet");
    let only = home.path().join("tables");
    fs::create_dir(&only).unwrap();
    let name = "test-00000-of-00001.parquet";
    fs::copy(table.join(name), only.join(name)).unwrap();
    let source = format!("parquet:{}", only.display());
    let output = adamant(home.path(), &["data", "info", &source, "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["classes"], serde_json::json!(["cat", "dog", "yak"]));
    assert_eq!(json["parts"][0]["part"], "test");
    assert_eq!(json["parts"].as_array().unwrap().len(), 1);
}

#[test]
fn training_without_the_images_that_judge_it_ends_before_it_begins() {
    let home = tempfile::tempdir().unwrap();
    let data = ninety_images(home.path());
    let (whole, shards) = (home.path().join("whole"), home.path().join("shards"));
    let arguments = ["data", "prepare", &data, "--out", whole.to_str().unwrap(), "--shards"];
    let output = adamant(home.path(), &arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    fs::create_dir(&shards).unwrap();
    let tars = contents(&whole).into_iter().filter(|(name, _)| name.ends_with(".tar"));
    for (number, (_, bytes)) in tars.enumerate() {
        fs::write(shards.join(format!("train-{number}.tar")), bytes).unwrap();
    }
    let (source, run) = (format!("shards:{}", shards.display()), home.path().join("run"));
    let arguments = ["train", "--data", &source, "--out", run.to_str().unwrap()];
    let output = adamant(home.path(), &[&arguments[..], &["--set=data.validation=10"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(message.contains("0 of the test part"), "{message}");
    assert!(!run.join("last.safetensors").exists(), "nothing was trained");
}
