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
