//! Stories of the command line, told through the binary as a user runs it.

use assert_cmd::Command;
use safetensors::SafeTensors;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;

/// A folder with an imported model and the 64 images of the attack fixture as a CIFAR binary file.
struct Setting {
    folder: TempDir,
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/golden").join(name)
}

/// PyTorch's answers on those images.
fn pytorch(tensor: &str) -> Vec<u8> {
    let bytes = std::fs::read(golden("attacks_wellconditioned.safetensors")).unwrap();
    SafeTensors::deserialize(&bytes).unwrap().tensor(tensor).unwrap().data().to_vec()
}

impl Setting {
    fn new() -> Self {
        let setting = Self { folder: tempfile::tempdir().unwrap() };
        let (pixels, labels) = (pytorch("images_u8"), pytorch("labels"));
        let mut records = Vec::new();
        for (label, image) in labels.chunks_exact(4).zip(pixels.chunks_exact(3072)) {
            records.push(label[0]);
            records.extend_from_slice(image);
        }
        std::fs::write(setting.path("images.bin"), records).unwrap();
        let weights = golden("cifar_resnet20.safetensors");
        let arguments = ["--arch", "resnet20-cifar", "--input-scaling", "imagenet"];
        let output = adamant(&setting)
            .arg("import")
            .arg(weights)
            .args(arguments)
            .args(["--out", "model.safetensors"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("269,722 parameters"), "{}", text(&output.stdout));
        setting
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Judges the model on the images: the flags that every such story shares, then `flags`.
    fn evaluate(&self, flags: &[&str]) -> Output {
        adamant(self)
            .args(["evaluate", "model.safetensors", "--data", "bin:images.bin"])
            .args(flags)
            .output()
            .unwrap()
    }

    fn verdicts(&self, folder: &str) -> Vec<Value> {
        let lines = std::fs::read_to_string(self.path(folder).join("verdicts.jsonl")).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn adamant(setting: &Setting) -> Command {
    let mut command = bare();
    command.current_dir(setting.folder.path());
    command
}

fn bare() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("adamant"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("standard output holds the result alone")
}

/// Fails with code 2 and says all of `parts`.
fn refused(output: &Output, parts: &[&str]) {
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    for part in parts {
        assert!(message.contains(part), "{part:?} is missing of {message}");
    }
}

#[test]
fn an_imported_network_falls_to_the_attacks_it_falls_to_in_pytorch() {
    let setting = Setting::new();
    for (attack, flags, golden) in [
        ("fgsm", &["--eps", "0.25/255"][..], "fgsm"),
        ("bim-10", &["--eps", "0.25/255", "--step-size", "0.0625/255"], "pgd10"),
        ("bim-10", &["--norm", "l2", "--eps", "0.03125", "--step-size", "0.00625"], "pgd10_l2"),
        (
            "targeted-bim-10",
            &["--eps", "0.25/255", "--step-size", "0.0625/255", "--target", "next"],
            "pgd10_targeted",
        ),
    ] {
        let shared = ["--attacks", attack, "--protocol", "paper", "--json", "--out", "result"];
        let report = json(&setting.evaluate(&[flags, &shared].concat()));
        assert_eq!(report["samples"], 64);
        assert_eq!(report["clean_accuracy"], 1.0, "the fixture holds images PyTorch has right");
        let successes: Vec<bool> =
            pytorch(&format!("{golden}/success")).iter().map(|&flag| flag == 1).collect();
        let expected = successes.iter().filter(|&&success| success).count() as f64 / 64.0;
        assert_eq!(report["attacks"][0]["success_rate"], expected, "{golden}");
        if !attack.starts_with("targeted") {
            let verdicts = setting.verdicts("result");
            let broken: Vec<bool> =
                verdicts.iter().map(|verdict| verdict["broken_by"] == attack).collect();
            assert_eq!(broken, successes, "{golden}, image by image");
        }
    }
}

#[test]
fn g7_verdicts_do_not_depend_on_batch_size_or_threads() {
    let setting = Setting::new();
    let mut all = Vec::new();
    for (batch, threads) in [("1", "2"), ("7", "2"), ("64", "2"), ("64", "1")] {
        let flags = ["--eps", "0.25/255", "--attacks", "fgsm,pgd-2-2,targeted-pgd-1"];
        let run = ["--batch-size", batch, "--threads", threads, "--out", "result", "--json"];
        let mut report = json(&setting.evaluate(&[&flags[..], &run[..]].concat()));
        for attack in report["attacks"].as_array_mut().unwrap() {
            attack["seconds"] = Value::Null;
        }
        all.push((report, setting.verdicts("result")));
    }
    for one in &all[1..] {
        assert_eq!(one, &all[0]);
    }
}

#[test]
fn settings_users_bring_along_from_other_tools_mean_the_same() {
    let setting = Setting::new();
    let ours =
        ["--norm", "Linf", "--eps", "0.25/255", "--step-size", "0.1/255", "--attacks", "pgd-4"];
    let theirs = [
        "--norm",
        "l_inf",
        "--epsilon",
        "0.25/255",
        "--alpha",
        "0.1/255",
        "--num-steps",
        "4",
        "--attacks",
        "pgd",
    ];
    let others = [
        "--norm",
        "inf",
        "--epsilon",
        "0.25/255",
        "--step_size",
        "0.1/255",
        "--attack-steps",
        "4",
        "--attacks",
        "pgd",
    ];
    let robust = |flags: &[&str]| {
        let report = json(&setting.evaluate(&[flags, &["--samples", "16", "--json"]].concat()));
        (report["threat"].clone(), report["attacks"][0]["robust_accuracy"].clone())
    };
    assert_eq!(robust(&ours), robust(&theirs));
    assert_eq!(robust(&ours), robust(&others));
}

#[test]
fn a_table_tells_accuracy_interval_and_work() {
    let setting = Setting::new();
    let output = setting.evaluate(&["--eps", "0.25/255", "--attacks", "fgsm", "--samples", "10"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    for part in ["10 images, seed 0", "Linf 0.25/255", "95 % interval", "fgsm", "worst case"] {
        assert!(table.contains(part), "{part:?} is missing of {table}");
    }
}

#[test]
fn adversarial_images_are_written_with_labels_predictions_and_pictures() {
    let setting = Setting::new();
    let output = adamant(&setting)
        .args(["attack", "model.safetensors", "--data", "bin:images.bin", "--attacks", "bim-3"])
        .args(["--eps", "2/255", "--samples", "5", "--out", "adv.safetensors", "--png", "png"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let bytes = std::fs::read(setting.path("adv.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let floats = |name: &str| -> Vec<f32> {
        let data = file.tensor(name).unwrap().data().to_vec();
        data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    assert_eq!(file.tensor("adversarial").unwrap().shape(), [5, 3, 32, 32]);
    let (images, adversarial) = (floats("images"), floats("adversarial"));
    let largest = images.iter().zip(&adversarial).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest > 1.5 / 255.0 && largest < 2.0 / 255.0 + 1e-6, "moved by {largest}");
    let classes = |name: &str| file.tensor(name).unwrap().data().to_vec();
    assert_eq!(file.tensor("labels").unwrap().shape(), [5]);
    assert_ne!(classes("labels"), classes("predictions"), "the attack broke something");
    let pictures = std::fs::read_dir(setting.path("png")).unwrap().count();
    assert_eq!(pictures, 10, "one before and one after for each image");
}

#[test]
fn models_resnet638_says_638_layers_parameters_and_flops_at_224_and_32_pixels() {
    let output = bare().args(["models", "resnet638"]).output().unwrap();
    assert!(output.status.success());
    let words = text(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "layers 638",
        "parameters 192,623,656",
        "FLOPs at 224x224 93,777,821,696",
        "FLOPs at 32x32",
    ] {
        assert!(words.contains(part), "{part:?} is missing of {words}");
    }
    let counted =
        json(&bare().args(["models", "resnet50", "--image", "64", "--json"]).output().unwrap());
    assert_eq!(counted["cost"][0]["image"], 64);
    assert_eq!(counted["parameters"], 25_557_032);
}

#[test]
fn a_plan_for_many_machines_is_made_from_a_measurement_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let bench = [
        "bench",
        "--arch",
        "resnet8-cifar",
        "--batch",
        "2",
        "--steps",
        "1",
        "--runs",
        "1",
        "--json",
    ];
    let measured = bare().args(bench).output().unwrap();
    let file = folder.path().join("bench.json");
    fs::write(&file, &measured.stdout).unwrap();
    let plan = |flags: &[&str]| {
        let file = file.display().to_string();
        bare()
            .args(["plan", "--bench", &file, "--batch", "64", "--json"])
            .args(flags)
            .output()
            .unwrap()
    };
    let planned = json(&plan(&["--nodes", "1,2,64", "--latency", "0"]));
    let [one, two, all] = &planned["nodes"].as_array().unwrap()[..] else { panic!("{planned}") };
    assert_eq!((&one["waiting_seconds"], &one["efficiency"]), (&0.0.into(), &1.0.into()));
    assert_eq!((&two["images_each"], &all["images_each"]), (&32.into(), &1.into()));
    // Two nodes send each gradient once: four bytes a learnt number.
    assert_eq!(two["bytes_sent"], 4.0 * planned["parameters"].as_f64().unwrap());
    assert!(all["memory_bytes"].as_u64() < one["memory_bytes"].as_u64());
    let slow = ["--nodes", "2", "--latency", "0", "--bandwidth", "1Mbit/s", "--bucket", "1"];
    let waiting = |flags: &[&str]| {
        json(&plan(&[&slow[..], flags].concat()))["nodes"][0]["waiting_seconds"].as_f64().unwrap()
    };
    assert!(
        waiting(&["--overlap", "none"]) > waiting(&[]),
        "part of the way lies behind the backward"
    );
    refused(&plan(&["--bandwidth", "10"]), &["10", "10Gbit/s"]);
    refused(&plan(&["--latency", "-1"]), &["-1"]);
    fs::write(&file, "{}").unwrap();
    refused(&plan(&[]), &["bench.json", "arch", "adamant bench"]);
}

#[cfg(not(feature = "mpi"))]
#[test]
fn g30_a_program_without_mpi_refuses_to_be_one_of_several_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    for launcher in ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS"]
    {
        for command in ["train", "evaluate"] {
            let mut started = bare();
            started.arg(command).arg("--out").arg(&out).env_remove("PMIX_RANK").env(launcher, "2");
            if command == "evaluate" {
                started.arg("model.safetensors");
            }
            let told = ["an MPI launcher has started 2 of this program", "--features mpi"];
            refused(&started.output().unwrap(), &told);
            assert!(!out.exists(), "{launcher} {command}: a folder was made before it was refused");
        }
    }
}

#[test]
fn an_unknown_architecture_lists_the_names_there_are() {
    let output = bare().args(["models", "resnet51"]).output().unwrap();
    refused(&output, &["resnet51", "338|638", "wrn-"]);
}

#[test]
fn an_epsilon_of_8_is_refused_with_a_hint() {
    let setting = Setting::new();
    let output = setting.evaluate(&["--eps", "8"]);
    refused(&output, &["epsilon is 8, above 1", "hint: pixels are in [0, 1]; write \"8/255\""]);
    assert!(output.stdout.is_empty());
    refused(&setting.evaluate(&["--eps", "-0.1"]), &["-0.1"]);
    refused(&setting.evaluate(&["--eps", "eight"]), &["eight", "8/255"]);
    refused(&setting.evaluate(&["--norm", "l2"]), &["no radius", "--eps"]);
}

#[test]
fn an_unknown_attack_lists_those_there_are() {
    let setting = Setting::new();
    let names = "clean, fgsm, bim-STEPS, pgd-STEPS, pgd-STEPS-RESTARTS";
    refused(&setting.evaluate(&["--attacks", "pdg-20"]), &["pdg-20", names]);
    let idle = setting.evaluate(&["--attacks", "pgd-20", "--steps", "10"]);
    refused(&idle, &["--steps", "pgd-20", "hint"]);
}

#[test]
fn a_model_that_is_not_there_or_is_no_model_is_named() {
    let setting = Setting::new();
    let absent = adamant(&setting).args(["evaluate", "nowhere.safetensors"]).output().unwrap();
    refused(&absent, &["nowhere.safetensors", "run folder"]);

    std::fs::write(setting.path("cut.safetensors"), b"no model").unwrap();
    let cut = adamant(&setting).args(["evaluate", "cut.safetensors"]).output().unwrap();
    assert_eq!(cut.status.code(), Some(1));
    assert!(text(&cut.stderr).contains("cut.safetensors"), "{}", text(&cut.stderr));
}

#[test]
fn a_model_outside_a_run_needs_its_data_named_and_of_its_shape() {
    let setting = Setting::new();
    let unnamed = adamant(&setting).args(["evaluate", "model.safetensors"]).output().unwrap();
    refused(&unnamed, &["model.safetensors", "--data", "fashion-sample"]);

    let other = adamant(&setting)
        .args(["evaluate", "model.safetensors", "--data", "fashion-sample"])
        .output()
        .unwrap();
    refused(&other, &["[3, 32, 32]", "[1, 28, 28]", "--data"]);

    let many = setting.evaluate(&["--samples", "65"]);
    refused(&many, &["asked for 65 images, the data set has 64"]);
    let attacked = adamant(&setting)
        .args(["attack", "model.safetensors", "--data", "fashion-sample", "--attacks", "fgsm"])
        .args(["--out", "adversarial.safetensors"])
        .output()
        .unwrap();
    refused(&attacked, &["[3, 32, 32]", "[1, 28, 28]"]);
    assert!(!setting.path("adversarial.safetensors").exists());
}

#[test]
fn a_run_folder_brings_its_data_and_radius_and_keeps_the_result() {
    let setting = Setting::new();
    let checkpoint = setting.path("run/checkpoints/step-3");
    std::fs::create_dir_all(&checkpoint).unwrap();
    let recipe = "[data]\nsource = \"bin:images.bin\"\n[attack]\nepsilon = \"0.25/255\"\n";
    std::fs::write(setting.path("run/recipe.toml"), recipe).unwrap();
    let empty = adamant(&setting).args(["evaluate", "run"]).output().unwrap();
    assert_eq!(empty.status.code(), Some(1));
    assert!(text(&empty.stderr).contains("best.safetensors"), "{}", text(&empty.stderr));

    std::fs::copy(setting.path("model.safetensors"), setting.path("run/best.safetensors")).unwrap();
    std::fs::copy(setting.path("model.safetensors"), checkpoint.join("model.safetensors")).unwrap();
    for model in ["run", "run/best.safetensors", "run/checkpoints/step-3"] {
        let flags = ["--attacks", "fgsm", "--samples", "20", "--json"];
        let output = adamant(&setting).args(["evaluate", model]).args(flags).output().unwrap();
        let report = json(&output);
        assert_eq!(report["data"], "bin:images.bin");
        assert_eq!(report["threat"]["epsilon"], "0.25/255");
        let kept = std::fs::read(setting.path("run/evaluation.json")).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&kept).unwrap(), report, "{model}");
        assert_eq!(setting.verdicts("run").len(), 20);
        std::fs::remove_file(setting.path("run/evaluation.json")).unwrap();
    }
}

#[test]
fn quiet_says_only_the_result_and_debug_says_what_it_runs_on() {
    let setting = Setting::new();
    let flags = ["--eps", "0.25/255", "--attacks", "fgsm", "--samples", "3", "--seed", "4"];
    let quiet = setting.evaluate(&[&flags[..], &["--quiet", "--out", "result"]].concat());
    assert!(text(&quiet.stdout).contains("3 images, seed 4"));
    assert!(quiet.stderr.is_empty(), "{}", text(&quiet.stderr));

    let run = ["--log", "debug", "--threads", "2", "--precision", "f32", "--out", "result"];
    let debug = setting.evaluate(&[&flags[..], &run].concat());
    let told = text(&debug.stderr);
    assert!(told.contains("2 threads") && told.contains("written: result"), "{told}");

    let none = setting.evaluate(&["--threads", "0"]);
    refused(&none, &["--threads"]);
}

#[test]
fn the_size_and_scaling_of_an_imported_network_can_be_stated() {
    let setting = Setting::new();
    let import = |flags: &[&str]| {
        adamant(&setting)
            .arg("import")
            .arg(golden("cifar_resnet20.safetensors"))
            .args(["--arch", "resnet20-cifar", "--out", "stated.safetensors"])
            .args(flags)
            .output()
            .unwrap()
    };
    let scaling = ["--input-scaling", "0.485,0.456,0.406/0.229,0.224,0.225"];
    let size = ["--image", "32", "--classes", "10", "--channels", "3", "--json"];
    let report = json(&import(&[&scaling[..], &size[..]].concat()));
    assert_eq!(report["input_scaling"], "as stated");
    // The same numbers as the name `imagenet` stands for, so the same file.
    let stated = std::fs::read(setting.path("stated.safetensors")).unwrap();
    assert_eq!(stated, std::fs::read(setting.path("model.safetensors")).unwrap());

    refused(&import(&["--input-scaling", "1,2/3"]), &["scaling", "hint"]);
    let classes = import(&["--classes", "7"]);
    assert_eq!(classes.status.code(), Some(1));
    assert!(text(&classes.stderr).contains("linear"), "{}", text(&classes.stderr));
}

#[test]
fn weights_of_another_architecture_are_not_imported() {
    let setting = Setting::new();
    let output = adamant(&setting)
        .arg("import")
        .arg(golden("cifar_resnet20.safetensors"))
        .args(["--arch", "resnet32-cifar", "--out", "other.safetensors"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("missing layer1.3.conv1.weight"));
    assert!(!setting.path("other.safetensors").exists());
}

#[test]
fn a_single_batch_norm_fills_both_branches_and_both_judge_alike() {
    let setting = Setting::new();
    let output = adamant(&setting)
        .arg("import")
        .arg(golden("cifar_resnet20.safetensors"))
        .args(["--arch", "resnet20-cifar", "--norm", "mixture", "--out", "both.safetensors"])
        .output()
        .unwrap();
    assert!(text(&output.stdout).contains("filled bn1.aux_bn.0.running_mean"));
    assert!(text(&output.stdout).contains("assumed"), "no scaling was stated");
    let branch = |branch: &str| {
        let output = adamant(&setting)
            .args(["evaluate", "both.safetensors", "--data", "bin:images.bin"])
            .args(["--eps", "0.25/255", "--attacks", "fgsm", "--branch", branch, "--json"])
            .output()
            .unwrap();
        let report = json(&output);
        assert_eq!((&report["branch"], &report["attack_branch"]), (&branch.into(), &branch.into()));
        report["attacks"][0]["robust_accuracy"].clone()
    };
    assert_eq!(branch("clean"), branch("adversarial"));
}
