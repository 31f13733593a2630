//! What stories about runs share: a tiny recipe and its images, and two runs held against each other.
#![allow(dead_code, reason = "each story uses its own part")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// Six epochs of six steps, with a checkpoint after every step.
pub const TINY: &str = "
[data]
source = 'idx:images'
validation = 24
pad = 1
[network]
architecture = 'resnet8-cifar'
width = 4
[attack]
epsilon = 0.1
steps = 2
step_size = 0.05
[optimizer]
learning_rate = 0.05
learning_rate_scaling = 'none'
[training]
epochs = 6
batch_size = 16
checkpoint_every_steps = 1
[evaluation]
select_by = 'pgd-2'
attacks = ['fgsm', 'pgd-2']
";

/// A folder with a tiny recipe, 120 training and 40 test images of 12x12 pixels.
pub struct Setting {
    pub folder: TempDir,
}

impl Setting {
    pub fn new() -> Self {
        let setting = Self { folder: tempfile::tempdir().expect("a folder") };
        let images = setting.path("images");
        fs::create_dir(&images).expect("a folder");
        for (part, count) in [("train", 120), ("t10k", 40)] {
            write_idx(&images, part, count);
        }
        fs::write(setting.path("tiny.toml"), TINY).expect("a recipe");
        setting
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adamant"));
        command.current_dir(self.folder.path()).args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary runs")
    }

    pub fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs")
    }

    /// Starts the run of `out`, or continues it where there is one to continue.
    pub fn go_on(&self, out: &str) -> Child {
        let resume =
            if self.path(out).join("recipe.toml").exists() { "--resume" } else { "--quiet" };
        self.spawn(&["train", "tiny.toml", "--out", out, resume])
    }
}

/// A bright bar at a height that depends on the class, over noise.
fn write_idx(folder: &Path, part: &str, count: u32) {
    let mut bits = count;
    let mut pixels = [0x803, count, 12, 12].map(u32::to_be_bytes).concat();
    let mut labels = [0x801, count].map(u32::to_be_bytes).concat();
    for image in 0..count {
        let label = image % 3;
        labels.push(label as u8);
        for pixel in 0..144 {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let bar = if pixel / 12 / 4 == label { 160 } else { 20 };
            pixels.push(bar + (bits >> 26) as u8);
        }
    }
    fs::write(folder.join(format!("{part}-images-idx3-ubyte")), pixels).expect("images");
    fs::write(folder.join(format!("{part}-labels-idx1-ubyte")), labels).expect("labels");
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
}

/// The metrics without what a clock says.
pub fn metrics(folder: &Path) -> Vec<Value> {
    let lines = fs::read_to_string(folder.join("metrics.jsonl")).expect("metrics");
    let parse = |line: &str| {
        let mut line: Value = serde_json::from_str(line).expect("a line of JSON");
        for clock in ["seconds", "images_per_second", "wait", "wait_ranks"] {
            line.as_object_mut().expect("an object").remove(clock);
        }
        line
    };
    lines.lines().map(parse).collect()
}

pub fn same_run(left: &Path, right: &Path) {
    for name in ["last.safetensors", "best.safetensors"] {
        let bytes = |folder: &Path| fs::read(folder.join(name)).expect("a model");
        assert!(bytes(left) == bytes(right), "{name} differs");
    }
    assert_eq!(metrics(left), metrics(right));
}

/// Sends a signal by its name.
pub fn signal(child: &Child, name: &str) {
    let kill = format!("kill -{name} {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().expect("sh").success());
}
