//! The alarms on real runs: single-step training at a large epsilon that collapses, and a healthy one beside it.

use super::*;
use adamant::data::{SearchPath, Source};
use adamant::train::alarm::AlarmKind;
use adamant::train::record::{RunRecord, Status, ValidationMetrics};
use tempfile::TempDir;

/// The first images of the embedded sample, halved to 14x14 pixels so that a run takes a second or two.
fn fashion(count: u64) -> Arc<Dataset> {
    let source = Source::parse("fashion-sample").unwrap();
    let sample = source.load(Part::Train, &SearchPath::from_environment()).unwrap();
    let batch = sample.batch(&(0..count).collect::<Vec<_>>()).unwrap();
    let mut pixels = Vec::new();
    for image in 0..count as usize {
        let at = |row: usize, column: usize| batch.images.one(image)[row * 28 + column];
        for (row, column) in
            (0..14).flat_map(|row| (0..14).map(move |column| (2 * row, 2 * column)))
        {
            let sum = at(row, column)
                + at(row, column + 1)
                + at(row + 1, column)
                + at(row + 1, column + 1);
            pixels.push((sum / 4.0 * 255.0).round() as u8);
        }
    }
    let (shape, names) = (Shape::new(1, 14, 14), sample.class_names().to_vec());
    let pixels = Pixels::Memory(pixels);
    Arc::new(Dataset::new("halved", Part::Train, shape, names, batch.labels, pixels).unwrap())
}

const SINGLE_STEP: &str = "
[data]
validation = 300
pad = 0
flip = false
[network]
architecture = 'resnet8-cifar'
width = 8
norm = 'batch'
[objective]
kind = 'adversarial-only'
[attack]
epsilon = 0.2
steps = 1
step_size = 0.2
step_rule = 'fixed'
start = 'clean'
[optimizer]
learning_rate = 0.2
learning_rate_scaling = 'none'
weight_decay = 0.0
[schedule]
kind = 'constant'
[training]
epochs = 20
batch_size = 32
precision = 'f32'
";

/// The validations of a run.
fn validations(sets: &[&str]) -> (TempDir, Vec<ValidationMetrics>) {
    let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
    let recipe = Recipe::parse(SINGLE_STEP, Path::new("single_step.toml"), &sets).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut told = Vec::new();
    let mut watcher = |event: Event<'_>| {
        if let Event::Validated { metrics, .. } = event {
            told.push(metrics.clone());
        }
    };
    train_on(folder.path(), &recipe, fashion(2300), &mut watcher).unwrap();
    (folder, told)
}

fn record(folder: &Path) -> RunRecord {
    serde_json::from_slice(&bytes(folder, "run.json")).unwrap()
}

/// Wong, Rice & Kolter 2020: FGSM without a random start at a large epsilon collapses, here after about 500 steps.
#[test]
fn g32_single_step_training_that_collapses_is_caught_at_the_first_validation_after_it_and_ended() {
    let (folder, told) = validations(&["evaluation.on_overfitting=stop"]);
    let (caught, before) = told.split_last().unwrap();
    assert!(told.len() < 20, "it never collapsed: {told:?}");
    assert_eq!(caught.alarm, Some(AlarmKind::CatastrophicOverfitting));
    // Until then many steps broke little more than one; from then on one step says nothing about many.
    let gap = |v: &ValidationMetrics| v.accuracy_fgsm.unwrap() - v.accuracy_adversarial;
    assert!(before.iter().all(|v| v.alarm.is_none() && gap(v) < 0.15), "{told:?}");
    assert!(gap(caught) >= 0.15, "{caught:?}");
    let best = before.iter().map(|v| v.accuracy_adversarial).fold(0.0, f64::max);
    assert!(caught.accuracy_adversarial < 0.75 * best, "{told:?}");

    let record = record(folder.path());
    assert_eq!((record.status, record.step), (Status::Finished, caught.step));
    assert_eq!(record.alarms.len(), 1);
    assert_eq!(Some(&record.alarms[0].message), caught.warning.as_ref());
    assert!(record.best.unwrap().step < caught.step, "the best model is one from before");
    assert_ne!(bytes(folder.path(), BEST), bytes(folder.path(), LAST));

    // A run that was ended stays ended.
    let sets = ["evaluation.on_overfitting=stop".to_string()];
    let recipe = Recipe::parse(SINGLE_STEP, Path::new("single_step.toml"), &sets).unwrap();
    let mut steps = 0;
    let mut count = |event: Event<'_>| steps += usize::from(matches!(event, Event::Step(_)));
    train_on(folder.path(), &recipe, fashion(2300), &mut count).unwrap();
    assert_eq!(steps, 0);
}

#[test]
fn g32_a_healthy_run_raises_nothing() {
    let several = ["attack.steps=3", "attack.step_size=0.1", "attack.start=uniform"];
    let shorter = ["training.epochs=5", "schedule.kind=cosine"];
    let (folder, told) = validations(&[&several[..], &shorter].concat());
    assert_eq!(told.len(), 5);
    assert!(told.iter().all(|v| v.alarm.is_none() && v.warning.is_none()), "{told:?}");
    // Chance is a tenth, give or take 2 points on 300 images; rounding alone moves the end of so short a training by 2 or 3.
    assert!(told[4].accuracy_adversarial > 0.2, "it learnt to stand: {told:?}");
    assert!(told.iter().all(|v| v.accuracy_training.is_some()));
    assert_eq!(record(folder.path()).alarms, []);
}

#[test]
fn validations_within_an_epoch_come_at_their_steps_and_choose_the_best_model_too() {
    let folder = tempfile::tempdir().unwrap();
    let every = ["evaluation.every_steps=3", "evaluation.every_epochs=2"];
    super::train(folder.path(), &super::recipe(&every), 1, None).unwrap();
    let lines = metrics(folder.path());
    let judged: Vec<&Value> = lines.iter().filter(|l| l.get("evaluation").is_some()).collect();
    let steps: Vec<_> = judged.iter().map(|l| (l["step"].as_u64(), l["epoch"].as_u64())).collect();
    let at = |step, epoch| (Some(step), Some(epoch));
    assert_eq!(steps, [at(3, 0), at(6, 1), at(8, 1), at(9, 2), at(12, 2)]);
}
