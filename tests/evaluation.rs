//! Evaluations as a user meets them: killed, resumed, shared by processes, continued by mistake; told through the binary.

use adamant::stream::{Draws, Key, Purpose, Stream};
use network::{Architecture, Network, Shape};
use safetensors::SafeTensors;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A folder with a model and images, and the attacks it is judged by.
struct Setting {
    folder: TempDir,
    attacks: &'static str,
}

/// Restarts, two attacks, some targets.
const GRADIENTS: &str = "fgsm,pgd-3-2,targeted-pgd-6";

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/golden").join(name)
}

const SIDE: usize = 8;
const IMAGES: usize = 24;
const PIXELS: &str = "images/t10k-images-idx3-ubyte";

fn draws(tensor: u32) -> Draws {
    let key = Key { purpose: Purpose::Initialize, time: 0, index: tensor, restart: 0 };
    Stream::new(5).draws(key)
}

/// Random weights, with every block switched on and logits of a trained network's size.
fn small_network() -> Network {
    let mut architecture = Architecture::named("resnet8-cifar-w4").unwrap();
    architecture.input = Shape::new(1, SIDE, SIDE);
    let mut normals = |tensor: u32, values: &mut [f32]| {
        let mut draws = draws(tensor);
        values.fill_with(|| draws.normal());
    };
    let graph = architecture.graph().unwrap();
    let mut network = Network::initialized(graph, &mut normals).unwrap();
    for parameter in network.parameters.iter_mut() {
        if parameter.name.contains("bn2") && parameter.name.ends_with("weight") {
            parameter.values.fill(1.0);
        }
        if parameter.name == "linear.weight" {
            parameter.values.iter_mut().for_each(|value| *value *= 100.0);
        }
    }
    network
}

/// The head of an IDX file of bytes.
fn idx(dimensions: &[usize], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, dimensions.len() as u8];
    dimensions.iter().for_each(|&length| file.extend((length as u32).to_be_bytes()));
    file.extend(bytes);
    file
}

impl Setting {
    /// Noise, labelled with what a small random network says.
    fn new() -> Self {
        let setting = Self { folder: tempfile::tempdir().unwrap(), attacks: GRADIENTS };
        small_network().write(&setting.path("model.safetensors")).unwrap();
        fs::create_dir(setting.path("images")).unwrap();
        let mut noise = draws(1000);
        let pixels: Vec<u8> = (0..IMAGES * SIDE * SIDE).map(|_| noise.bits() as u8).collect();
        let images = idx(&[IMAGES, SIDE, SIDE], &pixels);
        fs::write(setting.path(PIXELS), images).unwrap();
        let labels = |labels: Vec<u8>| {
            let path = setting.path("images/t10k-labels-idx1-ubyte");
            fs::write(path, idx(&[IMAGES], &labels)).unwrap();
        };
        labels((0..IMAGES).map(|image| (image % 10) as u8).collect());
        let ask = ["evaluate", "model.safetensors", "--data", "idx:images", "--attacks", "clean"];
        succeeds(&setting.run(&[&ask[..], &["--out", "asked", "--audit", "none"]].concat()));
        let verdicts = setting.read("asked", "verdicts.jsonl");
        let told = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        let said = verdicts.lines().map(|line| told(line)["clean_prediction"].as_u64().unwrap());
        labels(said.enumerate().map(|(n, class)| if n == 0 { 9 } else { class as u8 }).collect());
        setting
    }

    /// An imported model and the 64 images of the attack fixture as a CIFAR binary file.
    fn golden() -> Self {
        let setting = Self { folder: tempfile::tempdir().unwrap(), attacks: GRADIENTS };
        let bytes = fs::read(golden("attacks_wellconditioned.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let (labels, pixels) = (file.tensor("labels").unwrap(), file.tensor("images_u8").unwrap());
        let mut records = Vec::new();
        for (label, image) in labels.data().chunks_exact(4).zip(pixels.data().chunks_exact(3072)) {
            records.push(label[0]);
            records.extend_from_slice(image);
        }
        fs::write(setting.path("images.bin"), records).unwrap();
        let weights = golden("cifar_resnet20.safetensors");
        let import = ["import", weights.to_str().unwrap(), "--arch", "resnet20-cifar"];
        let scaling = ["--input-scaling", "imagenet", "--out", "model.safetensors"];
        succeeds(&setting.run(&[&import[..], &scaling[..]].concat()));
        setting
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adamant"));
        command.current_dir(self.folder.path()).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary runs")
    }

    fn evaluate(&self, out: &str, flags: &[&str]) -> Output {
        self.run(&[&EVALUATE[..], &["--attacks", self.attacks, "--out", out], flags].concat())
    }

    fn spawn(&self, out: &str, flags: &[&str]) -> Child {
        let asked = ["--attacks", self.attacks, "--out", out];
        let mut command = self.command(&[&EVALUATE[..], &asked[..], flags].concat());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs")
    }

    fn read(&self, folder: &str, name: &str) -> String {
        fs::read_to_string(self.path(folder).join(name)).expect(name)
    }

    /// The ledger as merging writes it: one record a stage, without times.
    fn canonical(&self, folder: &str) -> String {
        let merged = format!("{folder}-canonical");
        succeeds(&self.run(&["merge", folder, "--out", &merged, "--quiet"]));
        self.read(&merged, "ledger.jsonl")
    }
}

/// Of 24 images each attack breaks a share.
const EVALUATE: [&str; 6] =
    ["evaluate", "model.safetensors", "--data", "idx:images", "--eps", "2/255"];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
}

/// Fails with code 2 and says all of `parts`.
fn refused(output: &Output, parts: &[&str]) {
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    for part in parts {
        assert!(message.contains(part), "{part:?} is missing of {message}");
    }
}

mod g17_kill_and_resume {
    use super::*;

    #[test]
    fn an_evaluation_killed_at_ten_random_moments_and_resumed_leaves_the_same_ledger() {
        let setting = Setting { attacks: "autoattack", ..Setting::new() };
        let began = Instant::now();
        succeeds(&setting.evaluate("undisturbed", &["--batch-size", "5"]));
        let whole = began.elapsed().as_secs_f64();
        let mut bits = 1_u32;
        let mut kills = 0;
        while kills < 10 {
            // Every life ends at a random moment of the time that a whole evaluation takes.
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let share = f64::from(bits >> 8) / f64::from(1 << 24);
            let folder = if kills < 7 { "killed" } else { "killed-again" };
            let mut child = setting.spawn(folder, &["--resume", "--batch-size", "3"]);
            sleep(Duration::from_secs_f64(0.5 * whole * share));
            child.kill().expect("a child");
            child.wait().expect("a child");
            kills += 1;
        }
        let expected = setting.canonical("undisturbed");
        for folder in ["killed", "killed-again"] {
            succeeds(&setting.evaluate(folder, &["--resume", "--batch-size", "64"]));
            assert_eq!(setting.canonical(folder), expected);
            let verdicts = |folder| setting.read(folder, "verdicts.jsonl");
            assert_eq!(verdicts(folder), verdicts("undisturbed"));
        }
    }

    #[test]
    fn a_ledger_cut_at_any_byte_resumes_to_the_same_verdicts() {
        let setting = Setting::new();
        let few = ["--samples", "8", "--batch-size", "2"];
        succeeds(&setting.evaluate("whole", &few));
        let ledger = fs::read(setting.path("whole/ledger.jsonl")).unwrap();
        let expected = setting.canonical("whole");
        let begins = ledger.iter().position(|&byte| byte == b'\n').unwrap();
        // In the header, at its end, in the first record, near the end, and one byte before it.
        let cuts = [0, 7, begins, begins + 1, begins + 60, ledger.len() * 2 / 3, ledger.len() - 1];
        for cut in cuts {
            let folder = format!("cut-{cut}");
            fs::create_dir(setting.path(&folder)).unwrap();
            fs::write(setting.path(&folder).join("ledger.jsonl"), &ledger[..cut]).unwrap();
            let resume = [&few[..], &["--resume"]].concat();
            succeeds(&setting.evaluate(&folder, &resume));
            assert_eq!(setting.canonical(&folder), expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_ledger_that_was_changed_in_its_middle_is_refused_by_its_line() {
        let setting = Setting::new();
        succeeds(&setting.evaluate("whole", &["--samples", "4"]));
        let path = setting.path("whole/ledger.jsonl");
        let changed =
            fs::read_to_string(&path).unwrap().replacen("\"prediction\":", "\"prediction\": ", 1);
        fs::write(&path, changed).unwrap();
        let output = setting.evaluate("whole", &["--samples", "4", "--resume"]);
        assert_eq!(output.status.code(), Some(1));
        let message = text(&output.stderr);
        assert!(message.contains("ledger.jsonl: damaged, line 2"), "{message}");
    }

    #[test]
    fn another_setting_model_or_image_is_refused_and_named() {
        let setting = Setting::new();
        let few = ["--samples", "4"];
        succeeds(&setting.evaluate("begun", &few));
        let resumed = |flags: &[&str]| setting.evaluate("begun", &[&["--resume"], flags].concat());
        succeeds(&resumed(&few));
        refused(&resumed(&["--samples", "5"]), &["samples: 4 in the ledger, 5 now", "hint"]);
        refused(&resumed(&["--samples", "4", "--seed", "1"]), &["seed: 0 in the ledger, 1 now"]);
        refused(
            &resumed(&["--samples", "4", "--step-size", "0.1/255"]),
            &["attacks.2.settings.step_size"],
        );
        refused(&resumed(&["--samples", "4", "--target", "next"]), &["attacks.3.settings.goal"]);

        let images = fs::read(setting.path(PIXELS)).unwrap();
        let (head, pixels) = images.split_at(16);
        let darker = pixels.iter().map(|pixel| pixel ^ 1);
        let darker: Vec<u8> = head.iter().copied().chain(darker).collect();
        fs::write(setting.path(PIXELS), darker).unwrap();
        refused(&resumed(&few), &["data_sha256"]);
        fs::write(setting.path(PIXELS), images).unwrap();

        let weights = fs::read(setting.path("model.safetensors")).unwrap();
        let mut changed = weights.clone();
        let last = changed.len() - 4;
        changed[last] ^= 1;
        fs::write(setting.path("model.safetensors"), changed).unwrap();
        refused(&resumed(&few), &["model_sha256"]);
    }

    #[test]
    fn a_begun_evaluation_is_not_written_over_and_an_ended_one_is() {
        let setting = Setting::new();
        let few = ["--samples", "4"];
        succeeds(&setting.evaluate("folder", &few));
        succeeds(&setting.evaluate("folder", &["--samples", "5"]));
        let path = setting.path("folder/ledger.jsonl");
        let ledger = fs::read(&path).unwrap();
        fs::write(&path, &ledger[..ledger.len() - 1]).unwrap();
        refused(&setting.evaluate("folder", &few), &["was begun here", "--resume"]);
    }
}

mod g33_parts {
    use super::*;

    #[test]
    fn one_process_or_two_any_batch_size_or_threads_give_the_same_ledger() {
        let setting = Setting { attacks: "autoattack", ..Setting::new() };
        succeeds(&setting.evaluate("one", &["--batch-size", "256", "--threads", "2"]));
        let expected = setting.canonical("one");
        for (batch, threads) in [("1", "1"), ("16", "2")] {
            let folder = format!("batch-{batch}");
            let flags = ["--batch-size", batch, "--threads", threads];
            succeeds(&setting.evaluate(&folder, &flags));
            assert_eq!(setting.canonical(&folder), expected, "batch {batch}, threads {threads}");
        }
        let mut children: Vec<Child> = ["1/2", "2/2"]
            .iter()
            .map(|part| setting.spawn(&part.replace('/', "-of-"), &["--part", part]))
            .collect();
        for child in &mut children {
            assert!(child.wait().expect("a child").success());
        }
        let first = setting.read("1-of-2", "evaluation.json");
        assert!(
            first.contains(r#""part": "1/2""#) && first.contains(r#""samples": 12"#),
            "{first}"
        );
        let merge = ["merge", "1-of-2", "2-of-2", "--out", "merged", "--quiet"];
        succeeds(&setting.run(&merge));
        assert_eq!(setting.read("merged", "ledger.jsonl"), expected);
        let verdicts = |folder| setting.read(folder, "verdicts.jsonl");
        assert_eq!(verdicts("merged"), verdicts("one"));

        refused(
            &setting.run(&["merge", "1-of-2", "--out", "half"]),
            &["12 images have no verdict"],
        );
        let twice = ["merge", "1-of-2", "1-of-2", "2-of-2", "--out", "twice"];
        refused(&setting.run(&twice), &["two outcomes"]);
        succeeds(&setting.evaluate("other", &["--part", "2/2", "--seed", "1"]));
        let mixed = ["merge", "1-of-2", "other", "--out", "mixed"];
        refused(&setting.run(&mixed), &["another evaluation", "seed"]);
        refused(&setting.evaluate("none", &["--part", "3/2"]), &["3/2"]);
    }
}

fn json(output: &Output) -> Value {
    succeeds(output);
    serde_json::from_slice(&output.stdout).expect("standard output holds the result alone")
}

mod g33_protocols {
    use super::*;

    #[test]
    fn the_papers_protocol_gives_every_shorter_attack_on_the_way_of_the_longest() {
        let setting = Setting::new();
        let run = |attack: &str, out: &str| {
            let model = ["evaluate", "model.safetensors", "--data", "idx:images", "--json"];
            let few = ["--eps", "16/255", "--samples", "6", "--protocol", "paper", "--out", out];
            json(&setting.run(&[&model[..], &few[..], &["--attacks", attack]].concat()))
        };
        let long = run("targeted-pgd-30", "long");
        let attack = &long["attacks"][0];
        let step: f64 = attack["settings"]["step_size"].as_str().unwrap().parse().unwrap();
        assert_eq!(step, 1.0 / 255.0);
        // At 10 steps the paper steps by 1.6/255: no stop on this way.
        assert_eq!(attack["along"][0]["equals"], Value::Null);
        assert_eq!(attack["along"][1]["equals"], "targeted-pgd-20");
        let shorter = run("targeted-pgd-20", "shorter");
        for key in ["robust_accuracy", "success_rate", "ci95"] {
            assert_eq!(attack["along"][1][key], shorter["attacks"][0][key], "{key}");
        }
        for name in ["accuracy-steps.svg", "accuracy-steps.png", "evaluation.md"] {
            assert!(setting.path("long").join(name).exists(), "{name}");
        }
    }

    #[test]
    fn a_curve_and_all_branches_are_told_and_drawn() {
        let setting = Setting::golden();
        let weights = golden("cifar_resnet20.safetensors");
        let import = ["import", weights.to_str().unwrap(), "--arch", "resnet20-cifar"];
        let mixture = ["--norm", "mixture", "--out", "both.safetensors"];
        succeeds(&setting.run(&[&import[..], &mixture[..]].concat()));
        let model = ["evaluate", "both.safetensors", "--data", "bin:images.bin", "--samples", "8"];
        let asked = ["--eps", "0.25/255", "--curve", "0,0.1/255", "--all-branches", "--json"];
        let out = ["--attacks", "pgd-2", "--out", "out", "--audit", "none"];
        let report = json(&setting.run(&[&model[..], &asked[..], &out[..]].concat()));
        let radii: Vec<&str> = report["curve"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["epsilon"].as_str().unwrap())
            .collect();
        assert_eq!(radii, ["0", "0.1/255", "0.25/255"]);
        let robust = |point: &Value| point["attacks"][0]["robust_accuracy"].as_f64().unwrap();
        let curve: Vec<f64> = report["curve"].as_array().unwrap().iter().map(robust).collect();
        assert_eq!(curve[0], report["clean_accuracy"].as_f64().unwrap(), "epsilon 0 is clean");
        assert!(curve[2] <= curve[1] && curve[1] <= curve[0], "{curve:?}");
        assert_eq!(curve[2], robust(&report));
        let cells = report["branches"].as_array().unwrap();
        let pair = |cell: &Value| (cell["branch"].clone(), cell["attack_branch"].clone());
        assert_eq!(cells.len(), 4);
        assert_eq!(pair(&cells[1]), ("clean".into(), "adversarial".into()));
        for name in ["accuracy-epsilon.svg", "accuracy-epsilon.png", "curve/epsilon-0/ledger.jsonl"]
        {
            assert!(setting.path("out").join(name).exists(), "{name}");
        }
        let plain = Setting::new();
        refused(&plain.evaluate("single", &["--all-branches"]), &["one branch"]);
        refused(&plain.evaluate("part", &["--curve", "0", "--part", "1/2"]), &["--part"]);
        let entry = ["--robustbench", "entry.json", "--samples", "2"];
        refused(&plain.evaluate("entry", &entry), &["AutoAttack", "pgd-3-2"]);
    }

    #[test]
    fn distances_go_through_ledger_and_parts() {
        let setting = Setting { attacks: "fgsm,deepfool,fab-20", ..Setting::new() };
        succeeds(&setting.evaluate("whole", &["--distances"]));
        let report: Value =
            serde_json::from_str(&setting.read("whole", "evaluation.json")).unwrap();
        for attack in 1..3 {
            let attack = &report["attacks"][attack];
            assert_eq!(attack["attacked"], 23, "all that are right as they are");
            assert!(attack["distances"]["median"].as_f64().unwrap() > 0.0, "{attack}");
        }
        let line = setting.read("whole", "verdicts.jsonl").lines().nth(1).unwrap().to_string();
        assert!(line.contains("\"distance\":0."), "{line}");
        for part in ["1/2", "2/2"] {
            let folder = part.replace('/', "-of-");
            succeeds(&setting.evaluate(&folder, &["--distances", "--part", part]));
        }
        succeeds(&setting.run(&["merge", "1-of-2", "2-of-2", "--out", "merged", "--quiet"]));
        let verdicts = |folder| setting.read(folder, "verdicts.jsonl");
        assert_eq!(verdicts("merged"), verdicts("whole"));
        refused(&Setting::new().evaluate("none", &["--distances"]), &["nearest", "fab"]);
    }

    #[test]
    fn images_crafted_on_a_second_model_are_tried_on_the_first() {
        let mut setting = Setting::new();
        let mut other = small_network();
        for parameter in other.parameters.iter_mut().filter(|p| p.name == "conv1.weight") {
            parameter.values.iter_mut().for_each(|value| *value *= 1.1);
        }
        other.write(&setting.path("other.safetensors")).unwrap();
        refused(&setting.evaluate("lost", &["--surrogate", "other.safetensors"]), &["transfer-"]);
        setting.attacks = "transfer-pgd-10,pgd-10";
        refused(&setting.evaluate("lost", &[]), &["transfer-pgd-10", "--surrogate"]);
        succeeds(&setting.evaluate("by-other", &["--surrogate", "other.safetensors"]));
        succeeds(&setting.evaluate("by-itself", &["--surrogate", "model.safetensors"]));
        let broken = |folder: &str| {
            let report = setting.read(folder, "evaluation.json");
            let report: Value = serde_json::from_str(&report).unwrap();
            let attacks = report["attacks"].as_array().unwrap();
            assert_eq!(attacks[0]["name"], "transfer-pgd-10");
            assert_eq!(attacks[0]["backward_passes"], 0, "of the judged model");
            let robust = |attack: &Value| attack["robust_accuracy"].as_f64().unwrap();
            (robust(&attacks[0]), robust(&attacks[1]))
        };
        let (own, after) = broken("by-itself");
        assert_eq!(own, after, "on itself a transfer attack is the attack");
        assert!(broken("by-other").0 >= own);
        let again = ["--resume", "--surrogate", "model.safetensors"];
        refused(&setting.evaluate("by-other", &again), &["attacks.1.settings.surrogate"]);
    }

    #[test]
    fn images_of_the_training_are_flagged_in_every_part_and_when_merged() {
        let setting = Setting::golden();
        fs::create_dir(setting.path("run")).unwrap();
        let recipe = "[data]\nsource = \"bin:images.bin\"\n";
        fs::write(setting.path("run/recipe.toml"), recipe).unwrap();
        fs::copy(setting.path("model.safetensors"), setting.path("run/best.safetensors")).unwrap();
        for (out, part) in [("whole", "1/1"), ("first", "1/2"), ("second", "2/2")] {
            let judge = ["evaluate", "run", "--attacks", "clean", "--samples", "6"];
            succeeds(&setting.run(&[&judge[..], &["--out", out, "--part", part]].concat()));
        }
        succeeds(&setting.run(&["merge", "first", "second", "--out", "merged", "--quiet"]));
        for folder in ["whole", "merged"] {
            let report = setting.read(folder, "evaluation.json");
            assert!(report.contains("\"no-test-images\""), "{folder}: {report}");
        }
    }

    #[test]
    fn a_grid_shows_what_an_attack_changed() {
        let setting = Setting::golden();
        let attack =
            ["attack", "model.safetensors", "--data", "bin:images.bin", "--attacks", "pgd-5"];
        let files =
            ["--eps", "2/255", "--samples", "4", "--out", "adv.safetensors", "--grid", "grid"];
        succeeds(&setting.run(&[&attack[..], &files[..]].concat()));
        let svg = fs::read_to_string(setting.path("grid.svg")).unwrap();
        assert!(svg.contains("change x 63") && svg.contains("pgd-5, Linf 2/255"), "{svg}");
        assert!(setting.path("grid.png").exists());
        let few = ["--amplify", "5", "--grid-rows", "1"];
        succeeds(&setting.run(&[&attack[..], &files[..], &few[..]].concat()));
        let svg = fs::read_to_string(setting.path("grid.svg")).unwrap();
        assert!(svg.contains("change x 5") && svg.matches("<image").count() == 3);
    }
}
