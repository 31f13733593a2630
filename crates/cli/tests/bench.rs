//! What `adamant bench` says, and what scripts may rely on in its JSON.

use assert_cmd::Command;
use serde_json::Value;

fn bench(arch: &str, flags: &[&str]) -> (String, String, bool) {
    let output = Command::new(assert_cmd::cargo::cargo_bin!("adamant"))
        .args(["bench", "--arch", arch, "--image", "8", "--batch", "3", "--steps", "1"])
        .args(["--runs", "2", "--threads", "2"])
        .args(flags)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.success())
}

#[test]
fn the_json_of_a_benchmark_has_the_keys_that_scripts_read() {
    for method in ["mixture", "adversarial-only"] {
        let (out, error, success) =
            bench("resnet8-cifar", &["--json", "--layers", "--method", method]);
        assert!(success, "{error}");
        let record: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(record["arch"], "resnet8-cifar");
        assert_eq!(record["method"], method);
        for (key, expected) in [("image", 8), ("batch", 3), ("steps", 1), ("threads", 2)] {
            assert_eq!(record[key], expected, "{key}");
        }
        for part in ["forward", "attack_pass", "training_pass", "step"] {
            assert!(record["milliseconds"][part].as_f64().unwrap() > 0.0, "{part}");
            assert_eq!(record["samples"][part].as_array().unwrap().len(), 2, "{part}");
            let rate = record["gflops"][part].as_f64().unwrap();
            let share = record["share_of_peak"][part].as_f64().unwrap();
            let peak = record["peak_gflops"].as_f64().unwrap();
            assert!((share * peak / rate - 1.0).abs() < 1e-9, "{part}");
        }
        for key in ["precision", "kernel", "peak_rss_bytes", "revision", "machine", "command"] {
            assert!(!record[key].is_null(), "{key}");
        }
        let layers = record["layers"].as_array().unwrap();
        // A stem, three blocks of two convolutions, two shortcuts that subsample, pooling and a classifier.
        let convolutions = layers.iter().filter(|layer| layer["gflops"].as_f64() > Some(0.0));
        assert_eq!(convolutions.count(), 1 + 6 + 1, "{layers:#?}");
    }
}

#[test]
fn a_benchmark_for_people_names_the_machines_peak_and_only_the_parts_asked_for() {
    let (out, error, success) = bench("resnet8-cifar", &["--parts", "forward,attack-pass"]);
    assert!(success, "{error}");
    assert!(
        out.contains("attack pass") && out.contains("Peaks, all threads at once: f32"),
        "{out}"
    );
    assert!(!out.contains("training pass"), "{out}");
}

#[test]
fn an_architecture_that_does_not_exist_is_wrong_usage() {
    let (_, error, success) = bench("resnet9", &[]);
    assert!(!success && error.contains("resnet9"), "{error}");
}
