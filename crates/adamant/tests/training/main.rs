//! Whole training runs on a tiny network: resume, threads, consistent phase, guards.

mod faults;
mod overfitting;
mod ranks;

use adamant::data::{Dataset, Part, Pixels};
use adamant::image::Shape;
use adamant::train::checkpoint::Checkpoint;
use adamant::train::error::TrainError;
use adamant::train::fit::{BEST, Event, LAST, Setting, fit};
use adamant::train::plan::Plan;
use adamant::train::recipe::Recipe;
use adamant::train::record::Machine;
use adamant::train::run::{Identity, Run};
use collective::Solo;
use engine::Precision;
use engine::cpu::{CpuEngine, CpuSettings, Isa};
use network::Network;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// 4 steps of 16 images in each of 3 epochs.
const TINY: &str = "
[data]
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
epochs = 3
batch_size = 16
checkpoint_every_steps = 3
[evaluation]
select_by = 'pgd-2'
";

const STEPS: u64 = 12;

fn recipe(sets: &[&str]) -> Recipe {
    let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
    Recipe::parse(TINY, Path::new("tiny.toml"), &sets).expect("the tiny recipe parses")
}

/// 88 images of 8x8 pixels in 3 classes: a bright bar at a height that depends on the class, over noise.
fn images(part: Part) -> Arc<Dataset> {
    let shape = Shape::new(1, 8, 8);
    let mut bits = 1_u32;
    let mut noise = || {
        bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (bits >> 26) as u8
    };
    let labels: Vec<u32> = (0..88).map(|index| index % 3).collect();
    let mut pixels = Vec::new();
    for &label in &labels {
        for row in 0..8 {
            let bar = if row / 3 == label { 160 } else { 20 };
            pixels.extend((0..8).map(|_| bar + noise()));
        }
    }
    let classes = ["top", "middle", "bottom"].map(String::from).to_vec();
    let pixels = Pixels::Memory(pixels);
    Arc::new(Dataset::new("bars", part, shape, classes, labels, pixels).expect("a data set"))
}

fn identity() -> Identity {
    Identity {
        recipe: "tiny".into(),
        version: "0".into(),
        revision: "unknown".into(),
        dirty: false,
        machine: Machine {
            system: "any".into(),
            architecture: "any".into(),
            processor: "any".into(),
            kernel: "any".into(),
            threads: 1,
        },
        world_size: 1,
    }
}

fn engine(threads: usize) -> CpuEngine {
    let isa = Isa::best().expect("this machine has instructions");
    CpuEngine::new(CpuSettings { threads, isa }).expect("threads start")
}

/// Trains in `folder` until the end, or until `stop_after` steps are done in all.
fn train(
    folder: &Path,
    recipe: &Recipe,
    threads: usize,
    stop_after: Option<u64>,
) -> Result<Vec<String>, TrainError> {
    let (interrupt, never) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut notes = Vec::new();
    let mut watcher = |event: Event<'_>| match event {
        Event::Step(metrics) if stop_after.is_some_and(|stop| metrics.step >= stop) => {
            interrupt.store(true, Ordering::SeqCst);
        }
        Event::Begin { step, .. } => notes.push(format!("begin {step}")),
        Event::Damaged(error) => notes.push(error.to_string()),
        Event::Refused { error } => notes.push(format!("refused {error}")),
        Event::RolledBack { fault, step } => notes.push(format!("back at {step} from {fault}")),
        _ => {}
    };
    let requests = [&interrupt, &never];
    fit_in(folder, recipe, threads, images(Part::Train), requests, &mut watcher)?;
    Ok(notes)
}

fn train_on(
    folder: &Path,
    recipe: &Recipe,
    dataset: Arc<Dataset>,
    watcher: &mut (dyn FnMut(Event<'_>) + Send),
) -> Result<(), TrainError> {
    let never = AtomicBool::new(false);
    fit_in(folder, recipe, 2, dataset, [&never, &never], watcher)
}

fn train_with(
    folder: &Path,
    recipe: &Recipe,
    dataset: Arc<Dataset>,
    requests: [&AtomicBool; 2],
    watcher: &mut (dyn FnMut(Event<'_>) + Send),
) -> Result<(), TrainError> {
    fit_in(folder, recipe, 1, dataset, requests, watcher)
}

/// A new run, or the one that is there; `interrupt` and `checkpoint_now` are the requests.
fn fit_in(
    folder: &Path,
    recipe: &Recipe,
    threads: usize,
    dataset: Arc<Dataset>,
    [interrupt, checkpoint_now]: [&AtomicBool; 2],
    watcher: &mut (dyn FnMut(Event<'_>) + Send),
) -> Result<(), TrainError> {
    let mut run = if folder.join("recipe.toml").exists() {
        Run::resume(folder)?.0
    } else {
        Run::create(folder, recipe, identity())?
    };
    let plan = Plan::new(recipe)?;
    let engine = engine(threads).training_in(plan.precision.resolve(Precision::F32));
    let setting = Setting {
        engine: &engine,
        collective: &Solo,
        plan: &plan,
        dataset,
        interrupt,
        checkpoint_now,
    };
    let mut watcher = |event: Event<'_>| watcher(event);
    engine.pool().install(|| fit(&setting, &mut run, &mut watcher))?;
    Ok(())
}

fn bytes(folder: &Path, name: &str) -> Vec<u8> {
    fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The metrics without what a clock says.
fn metrics(folder: &Path) -> Vec<Value> {
    let text = String::from_utf8(bytes(folder, "metrics.jsonl")).expect("text");
    let mut lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for line in &mut lines {
        let keys = line.as_object_mut().expect("an object");
        keys.remove("seconds").expect("seconds in every line");
        keys.remove("images_per_second");
        keys.remove("wait");
        keys.remove("wait_ranks");
    }
    lines
}

fn same_run(left: &Path, right: &Path) {
    for name in [LAST, BEST] {
        assert_eq!(bytes(left, name), bytes(right, name), "{name} differs");
    }
    assert_eq!(metrics(left), metrics(right));
}

#[test]
fn a_run_leaves_what_its_folder_promises() {
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), &recipe(&[]), 1, None).unwrap();
    let lines = metrics(folder.path());
    let steps: Vec<&Value> = lines.iter().filter(|l| l.get("evaluation").is_none()).collect();
    assert_eq!(steps.len() as u64, STEPS);
    let keys: Vec<&str> = steps[0].as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "step",
        "epoch",
        "images",
        "loss",
        "loss_clean",
        "loss_adversarial",
        "learning_rate",
        "accuracy_clean",
        "accuracy_adversarial",
        "gradient_norm",
    ];
    expected.sort_unstable();
    let mut keys = keys;
    keys.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!(lines.len() as u64, STEPS + 3, "a validation after each epoch");
    assert_eq!(steps[11]["images"], 12 * 16);
    let (run, again) = Run::resume(folder.path()).unwrap();
    assert_eq!(recipe(&[]).differences(&again), []);
    assert_eq!(run.record().step, STEPS);
    assert!(run.record().best.is_some());
}

mod g17_kill_and_resume {
    use super::*;

    #[test]
    fn a_run_interrupted_at_any_step_and_resumed_equals_the_undisturbed_run() {
        let undisturbed = tempfile::tempdir().unwrap();
        train(undisturbed.path(), &recipe(&[]), 1, None).unwrap();
        for stop in [1, 4, 5, 11] {
            let folder = tempfile::tempdir().unwrap();
            let error = train(folder.path(), &recipe(&[]), 1, Some(stop)).unwrap_err();
            assert!(matches!(error, TrainError::Interrupted { step, .. } if step == stop));
            let notes = train(folder.path(), &recipe(&[]), 1, None).unwrap();
            assert_eq!(notes, [format!("begin {stop}")]);
            same_run(undisturbed.path(), folder.path());
        }
    }

    #[test]
    fn an_interruption_is_recorded_as_one() {
        let folder = tempfile::tempdir().unwrap();
        train(folder.path(), &recipe(&[]), 1, Some(2)).unwrap_err();
        let record: Value = serde_json::from_slice(&bytes(folder.path(), "run.json")).unwrap();
        assert_eq!((&record["status"], &record["step"]), (&"interrupted".into(), &2.into()));
    }

    #[test]
    fn a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so() {
        let undisturbed = tempfile::tempdir().unwrap();
        train(undisturbed.path(), &recipe(&[]), 1, None).unwrap();
        let folder = tempfile::tempdir().unwrap();
        train(folder.path(), &recipe(&[]), 1, Some(8)).unwrap_err();
        let model = folder.path().join("checkpoints/step-8/model.safetensors");
        let whole = fs::read(&model).unwrap();
        fs::write(&model, &whole[..whole.len() / 2]).unwrap();
        let notes = train(folder.path(), &recipe(&[]), 1, None).unwrap();
        assert!(notes[0].contains("step-8") && notes[0].contains("damaged"), "{notes:?}");
        assert_eq!(notes[1], "begin 6");
        same_run(undisturbed.path(), folder.path());
    }

    #[test]
    fn a_finished_run_that_is_resumed_does_no_more_steps() {
        let folder = tempfile::tempdir().unwrap();
        train(folder.path(), &recipe(&[]), 1, None).unwrap();
        let before = (bytes(folder.path(), LAST), metrics(folder.path()));
        train(folder.path(), &recipe(&[]), 1, None).unwrap();
        assert_eq!((bytes(folder.path(), LAST), metrics(folder.path())), before);
    }

    #[test]
    fn a_checkpoint_that_cannot_be_written_is_told_and_training_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        train(folder.path(), &recipe(&[]), 1, Some(4)).unwrap_err();
        // A file where the next checkpoint's folder is to be stands for a disk that refuses.
        fs::write(folder.path().join("checkpoints/.step-6.partial"), "in the way").unwrap();
        let notes = train(folder.path(), &recipe(&[]), 1, None).unwrap();
        assert_eq!(notes[0], "begin 4");
        assert!(
            notes[1].starts_with("refused") && notes[1].contains(".step-6.partial"),
            "{notes:?}"
        );
        assert_eq!(notes.len(), 2, "the checkpoint of step 8 is written");
    }
}

#[test]
fn g17_threads_do_not_change_a_byte() {
    for precision in ["training.precision=f32", "training.precision=bf16"] {
        let folders = [1, 2, 3].map(|threads| {
            let folder = tempfile::tempdir().unwrap();
            train(folder.path(), &recipe(&[precision]), threads, None).unwrap();
            folder
        });
        same_run(folders[0].path(), folders[1].path());
        same_run(folders[0].path(), folders[2].path());
    }
}

#[test]
fn every_setting_trains_and_changes_what_is_trained() {
    let plain = {
        let folder = tempfile::tempdir().unwrap();
        let sets = ["training.epochs=1", "training.precision=f32"];
        train(folder.path(), &recipe(&sets), 2, None).unwrap();
        bytes(folder.path(), LAST)
    };
    for sets in [
        &["training.precision=bf16"][..],
        &["network.norm=batch", "objective.forward=two-passes"],
        &["network.statistics=shared"],
        &["network.affine=shared", "objective.weighting=alpha", "objective.alpha=0.3"],
        &["network.norm=group", "network.groups=2"],
        &["network.norm=instance", "objective.kind=adversarial-only"],
        &["network.norm=none", "objective.kind=standard", "evaluation.select_by=clean"],
        &["objective.clean_fraction=0.5", "objective.label_smoothing=0.1"],
        &["objective.logit_pairing=0.5"],
        &["attack.crafting_statistics=batch", "attack.norm=L2", "attack.epsilon=1.5"],
        &["attack.start=clean-with-probability", "attack.goal=targeted-uniform-other"],
        &["network.activation=silu", "schedule.kind=milestones", "schedule.milestones=[0.5]"],
        &["network.activation=smooth-relu", "network.activation_beta=5", "schedule.factor=0.2"],
        &["network.activation=gelu", "network.input_scaling=none", "attack.clip_start=false"],
        &["network.activation=elu", "network.running_variance=biased", "attack.restarts=2"],
        &["network.input_scaling=mean-std", "network.input_mean=[0.3]", "network.input_std=[0.4]"],
        &["attack.start=clean", "attack.goal=targeted-least-likely", "attack.step_rule=fixed"],
        &["attack.goal=targeted-next", "attack.crafting_domain=clean", "data.flip=false"],
        &["attack.start=clean-with-probability", "attack.coin_scope=per-image"],
        &["attack.clean_start_probability=0.9", "attack.start=clean-with-probability"],
        &["optimizer.learning_rate_scaling=linear", "optimizer.nesterov=false"],
        &["schedule.warmup_epochs=0.5", "schedule.warmup_from=0.01", "schedule.kind=constant"],
        &["optimizer.momentum=0", "optimizer.weight_decay=0", "training.keep_checkpoints=1"],
        &["evaluation.every_epochs=2", "evaluation.step_size=0.02", "training.seed=5"],
    ] {
        let mut sets = sets.to_vec();
        sets.push("training.epochs=1");
        let folder = tempfile::tempdir().unwrap();
        let done = train(folder.path(), &recipe(&sets), 2, None);
        assert!(done.is_ok(), "{sets:?}: {}", done.unwrap_err());
        let last = bytes(folder.path(), LAST);
        assert!(last != plain, "{sets:?} changed nothing");
    }
}

#[test]
fn g24_a_mixture_without_clean_images_is_adversarial_training() {
    let last = |sets: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        train(folder.path(), &recipe(sets), 1, None).unwrap();
        bytes(folder.path(), LAST)
    };
    let adversarial = last(&["objective.kind=adversarial-only"]);
    assert!(adversarial == last(&["objective.clean_fraction=0"]));
    assert!(adversarial != last(&["objective.clean_fraction=0.5"]));
}

#[test]
fn g24_one_forward_and_two_are_the_same_where_nothing_is_shared_between_domains() {
    // With mixture batch norm no statistic is ever computed over both kinds, so only rounding may differ.
    let losses = |forward: &str| {
        let folder = tempfile::tempdir().unwrap();
        let sets = [forward, "training.epochs=1"];
        train(folder.path(), &recipe(&sets), 1, None).unwrap();
        let lines = metrics(folder.path());
        lines.iter().filter_map(|line| line["loss"].as_f64()).collect::<Vec<_>>()
    };
    let together = losses("objective.forward=concatenated");
    let apart = losses("objective.forward=two-passes");
    assert_eq!(together.len(), 4);
    for (one, two) in together.iter().zip(&apart) {
        assert!((one - two).abs() < 1e-4, "{together:?} {apart:?}");
    }
}

mod g25_consistent_phase {
    use super::*;

    fn statistics(folder: &Path, step: u64) -> (Vec<f32>, Vec<f32>) {
        let path = folder.join(format!("checkpoints/step-{step}/model.safetensors"));
        let network = Network::read(&path).unwrap();
        let all = |learnt: bool| {
            let wanted = network
                .parameters
                .iter()
                .filter(|p| p.role.is_learnt() == learnt && (!learnt || !p.role.decays()));
            wanted.flat_map(|p| p.values.clone()).collect()
        };
        (all(false), all(true))
    }

    fn run(kind: &str) -> [(Vec<f32>, Vec<f32>); 2] {
        let folder = tempfile::tempdir().unwrap();
        let sets = [
            "training.freeze_statistics_from_epoch=1",
            "training.keep_checkpoints=9",
            &format!("training.frozen_statistics={kind}"),
        ];
        train(folder.path(), &recipe(&sets), 1, None).unwrap();
        [4, STEPS].map(|step| statistics(folder.path(), step))
    }

    #[test]
    fn frozen_statistics_keep_their_bytes_while_gamma_and_beta_move() {
        let [before, after] = run("frozen");
        assert_eq!(before.0, after.0);
        assert_ne!(before.1, after.1);
    }

    #[test]
    fn ema_statistics_keep_moving() {
        let [before, after] = run("ema");
        assert_ne!(before.0, after.0);
        assert_ne!(before.1, after.1);
    }
}

mod g32_guards {
    use super::*;

    #[test]
    fn a_non_finite_number_stops_the_run_naming_step_and_part_with_the_checkpoint_intact() {
        for rate in ["1e38", "1e30", "1e12"] {
            stops(&format!("optimizer.learning_rate={rate}"));
        }
    }

    fn stops(rate: &str) {
        let folder = tempfile::tempdir().unwrap();
        // Rates that make losses, gradients or parameters overflow: at once, or after some good steps.
        let sets = [rate, "training.checkpoint_every_steps=1", "schedule.kind=constant"];
        let error = train(folder.path(), &recipe(&sets), 1, None).unwrap_err();
        let message = error.to_string();
        let named = matches!(
            error,
            TrainError::NonFinite(ref fault) if fault.images.len() == 16
        );
        assert!(named && message.starts_with("step "), "{message}");
        assert!(message.contains("not finite") || message.contains("expected finite"), "{message}");
        let record: Value = serde_json::from_slice(&bytes(folder.path(), "run.json")).unwrap();
        assert_eq!(record["status"], "failed");
        assert_eq!(record["error"], message);
        let store = Run::resume(folder.path()).unwrap().0.store(2);
        let newest = store.newest().unwrap();
        assert!(newest.damaged.is_empty());
        if let Some((_, files)) = newest.good {
            Checkpoint::decode(&files, folder.path()).expect("a checkpoint holds finite numbers");
        }
    }

    #[test]
    fn selection_is_refused_the_test_images() {
        let folder = tempfile::tempdir().unwrap();
        let (recipe, engine) = (recipe(&[]), engine(1));
        let plan = Plan::new(&recipe).unwrap();
        let mut run = Run::create(folder.path(), &recipe, identity()).unwrap();
        let interrupt = AtomicBool::new(false);
        let dataset = images(Part::Test);
        let setting = Setting {
            engine: &engine,
            collective: &Solo,
            plan: &plan,
            dataset,
            interrupt: &interrupt,
            checkpoint_now: &interrupt,
        };
        let error = fit(&setting, &mut run, &mut |_: Event<'_>| {}).unwrap_err();
        assert!(matches!(error, TrainError::NotTrainingImages { .. }), "{error}");
    }

    #[test]
    fn validation_lines_name_the_held_out_split() {
        let folder = tempfile::tempdir().unwrap();
        train(folder.path(), &recipe(&[]), 1, None).unwrap();
        let lines = metrics(folder.path());
        let judged: Vec<&Value> = lines.iter().filter(|l| l.get("evaluation").is_some()).collect();
        assert!(judged.iter().all(|line| line["split"] == "validation" && line["samples"] == 24));
    }
}
