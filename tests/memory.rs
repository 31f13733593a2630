//! Memory as a user meets it: planned before it is taken, bounded by a flag, never a reason for another result.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Few images, a net with many layers: nearly all memory is the recording's.
const DEEP: &str = "
[data]
source = 'idx:images'
validation = 8
[network]
architecture = 'resnet56-cifar'
width = 4
[attack]
steps = 1
[training]
epochs = 1
batch_size = 16
[evaluation]
select_by = 'clean'
attacks = ['clean']
";

fn adamant(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adamant"));
    command.current_dir(folder).args(arguments).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// 56 training and 4 test images of 28x28 pixels.
fn write_images(folder: &Path) {
    fs::create_dir(folder).expect("a folder");
    for (part, count) in [("train", 56_u32), ("t10k", 4)] {
        let mut bits = count;
        let mut pixels = [0x803, count, 28, 28].map(u32::to_be_bytes).concat();
        pixels.extend((0..count * 28 * 28).map(|_| {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (bits >> 24) as u8
        }));
        let mut labels = [0x801, count].map(u32::to_be_bytes).concat();
        labels.extend((0..count).map(|image| (image % 3) as u8));
        fs::write(folder.join(format!("{part}-images-idx3-ubyte")), pixels).expect("images");
        fs::write(folder.join(format!("{part}-labels-idx1-ubyte")), labels).expect("labels");
    }
}

#[test]
fn g10_training_within_little_memory_gives_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    write_images(&folder.join("images"));
    fs::write(folder.join("deep.toml"), DEEP).expect("a recipe");
    let train = |out: &str, more: &[&str]| {
        adamant(folder, &[&["train", "deep.toml", "--out", out], more].concat())
    };
    let free = train("free", &[]);
    assert!(free.status.success(), "{}", text(&free.stderr));

    let refused = train("refused", &["--memory", "1MiB"]);
    let message = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{message}");
    assert!(message.contains("hint: allow more"), "{message}");
    let (_, after) = message.split_once("training needs at least ").expect("the least");
    let least: f64 = after.split(' ').next().unwrap().parse().expect("a number of MiB");

    let lean = train("lean", &["--memory", &format!("{}MiB", least.ceil() + 4.0)]);
    let message = text(&lean.stderr);
    assert!(lean.status.success(), "{message}");
    assert!(message.contains("of a forward is computed again"), "{message}");
    assert!(!message.contains(" 0.0 % of a forward"), "{message}");
    let model = |run: &str| fs::read(folder.join(run).join("last.safetensors")).expect("a model");
    assert!(model("lean") == model("free"), "the two models differ");
}

#[test]
fn models_tells_what_a_step_holds_stored_and_computed_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = |more: &[&str]| {
        let arguments = ["models", "resnet50", "--image", "224", "--batch", "16", "--json"];
        let output = adamant(folder.path(), &[&arguments[..], more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let model: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        model["cost"][0]["memory"].clone()
    };
    let free = plan(&[]);
    let number = |plan: &Value, key: &str| plan[key].as_u64().unwrap_or_else(|| panic!("{plan}"));
    assert_eq!(number(&free["stored"], "segments"), 1);
    assert!(number(&free["least"], "peak") < number(&free["stored"], "peak") / 2);
    assert!(free["within"].is_null());
    let bounded = plan(&["--memory", "3GiB"]);
    assert!(number(&bounded["within"], "peak") <= 3 << 30);
    assert!(bounded["within"]["computed_again"].as_f64().unwrap() > 0.0);

    let shown = adamant(folder.path(), &["models", "resnet50", "--memory", "8"]);
    assert_eq!(shown.status.code(), Some(2));
    assert!(text(&shown.stderr).contains("such as 8GiB"), "{}", text(&shown.stderr));
}
