//! What goes wrong in mid-run: numbers, disks, files, and signals at bad moments.

use super::*;
use adamant::data::{DataError, Framing, Pictures, Stored};
use adamant::train::checkpoint::State;
use adamant::train::fault::Fault;
use std::path::PathBuf;

fn fault(error: TrainError) -> Fault {
    match error {
        TrainError::NonFinite(fault) => *fault,
        other => panic!("{other}"),
    }
}

fn losses(folder: &Path) -> Vec<f64> {
    metrics(folder).iter().filter_map(|line| line["loss"].as_f64()).collect()
}

/// A limit of the loss that exactly the worst step of an undisturbed run exceeds, and that step.
fn limit_of_the_worst_step() -> (String, u64) {
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), &recipe(&[]), 1, None).unwrap();
    let losses = losses(folder.path());
    let worst = (0..losses.len()).reduce(|a, b| if losses[b] > losses[a] { b } else { a }).unwrap();
    let second = losses.iter().enumerate().filter(|&(step, _)| step != worst);
    let second = second.map(|(_, &loss)| loss).fold(0.0, f64::max);
    let limit = (losses[worst] + second) / 2.0 / 3_f64.ln();
    assert!(limit > 1.0, "{losses:?}");
    (format!("training.loss_limit={limit}"), worst as u64)
}

#[test]
fn g32_an_exploded_loss_stops_the_run_naming_step_part_and_images() {
    let (limit, worst) = limit_of_the_worst_step();
    let folder = tempfile::tempdir().unwrap();
    let error = train(folder.path(), &recipe(&[&limit]), 1, None).unwrap_err();
    let message = error.to_string();
    let fault = fault(error);
    assert_eq!((fault.step, fault.images.len()), (worst, 16));
    assert!(fault.what.contains("times that of guessing"), "{message}");
    let named: Vec<String> = fault.images[..8].iter().map(u64::to_string).collect();
    let named = format!("images of the step: {} and 8 more", named.join(", "));
    assert!(message.contains(&named) && message.contains("roll-back"), "{message}");
    let lines = metrics(folder.path());
    let last = lines.last().unwrap();
    assert_eq!((&last["fault"], &last["step"]), (&"stopped".into(), &(worst + 1).into()));
    let indices: Vec<u64> = serde_json::from_value(last["indices"].clone()).unwrap();
    assert_eq!(indices, fault.images);
}

#[test]
fn g32_a_rolled_back_run_passes_the_step_by_and_ends() {
    let (limit, worst) = limit_of_the_worst_step();
    let sets = [limit.as_str(), "training.on_nonfinite=roll-back"];
    let folder = tempfile::tempdir().unwrap();
    let notes = train(folder.path(), &recipe(&sets), 1, None).unwrap();
    assert!(
        notes[1].starts_with(&format!("back at 0 from step {worst}: the loss is")),
        "{notes:?}"
    );
    let lines = metrics(folder.path());
    let skipped: Vec<&Value> = lines.iter().filter(|l| l.get("fault").is_some()).collect();
    assert_eq!(
        (&skipped[0]["fault"], &skipped[0]["step"]),
        (&"skipped".into(), &(worst + 1).into())
    );
    // Every step is there once, done or passed by.
    let steps: Vec<u64> = lines
        .iter()
        .filter(|line| line.get("evaluation").is_none())
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, (1..=STEPS).collect::<Vec<_>>());

    // Killed on its way, it comes to the same.
    let killed = tempfile::tempdir().unwrap();
    for stop in [2, 7] {
        train(killed.path(), &recipe(&sets), 1, Some(stop)).unwrap_err();
    }
    train(killed.path(), &recipe(&sets), 1, None).unwrap();
    same_run(folder.path(), killed.path());
}

#[test]
fn g32_a_run_that_does_not_recover_stops_after_eight_steps_of_an_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let sets = [
        "training.on_nonfinite=roll-back",
        "training.batch_size=4",
        "optimizer.learning_rate=1e38",
        "schedule.kind=constant",
    ];
    let error = train(folder.path(), &recipe(&sets), 1, None).unwrap_err();
    assert!(matches!(error, TrainError::NoRecovery { skipped: 8, .. }), "{error}");
    assert!(error.to_string().contains("does not recover"));
}

#[test]
fn g32_the_layer_is_named_whose_output_is_the_first_that_is_not_finite() {
    let folder = tempfile::tempdir().unwrap();
    // Without normalisation, weights that one huge step has moved overflow layer by layer.
    let sets = [
        "network.norm=none",
        "objective.kind=standard",
        "evaluation.select_by=clean",
        "optimizer.learning_rate=1e9",
        "schedule.kind=constant",
        "training.loss_limit=0",
        "training.precision=f32",
    ];
    let fault = fault(train(folder.path(), &recipe(&sets), 1, None).unwrap_err());
    let layer = fault.layer.as_ref().unwrap_or_else(|| panic!("no layer: {fault}"));
    let plan = Plan::new(&recipe(&sets)).unwrap();
    let network = plan.network(Shape::new(1, 8, 8), 3).unwrap();
    assert!(network.graph.find(layer).is_some(), "{layer} is no layer");
}

#[test]
fn g17_a_checkpoint_asked_for_is_written_after_the_step_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(&["training.checkpoint_every_steps=0", "training.keep_checkpoints=9"]);
    let now = AtomicBool::new(false);
    let mut kept = Vec::new();
    let mut watcher = |event: Event<'_>| match event {
        Event::Step(metrics) if metrics.step == 2 => now.store(true, Ordering::SeqCst),
        Event::Checkpoint { path } => kept.push(path.file_name().unwrap().to_owned()),
        _ => {}
    };
    let never = AtomicBool::new(false);
    train_with(folder.path(), &recipe, images(Part::Train), [&never, &now], &mut watcher).unwrap();
    assert_eq!(kept, ["step-2", "step-4", "step-8", "step-12"]);
}

#[test]
fn g17_checkpoints_come_by_the_clock_too_and_change_nothing() {
    let plain = tempfile::tempdir().unwrap();
    train(plain.path(), &recipe(&[]), 1, None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let often = ["training.checkpoint_every_minutes=1e-9", "training.keep_checkpoints=99"];
    train(folder.path(), &recipe(&often), 1, None).unwrap();
    let kept = fs::read_dir(folder.path().join("checkpoints")).unwrap().count();
    assert_eq!(kept as u64, STEPS, "one after every step");
    same_run(plain.path(), folder.path());
}

#[test]
fn g17_an_interruption_in_a_validation_does_not_wait_for_its_end_and_loses_nothing() {
    let undisturbed = tempfile::tempdir().unwrap();
    train(undisturbed.path(), &recipe(&[]), 1, None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (interrupt, never) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut validations = 0;
    let mut watcher = |event: Event<'_>| {
        if let Event::Validating = event {
            validations += 1;
            interrupt.store(validations == 2, Ordering::SeqCst);
        }
    };
    let both = [&interrupt, &never];
    let error = train_with(folder.path(), &recipe(&[]), images(Part::Train), both, &mut watcher);
    assert!(matches!(error, Err(TrainError::Interrupted { step: 8, .. })), "{error:?}");
    let state = fs::read(folder.path().join("checkpoints/step-8/state.json")).unwrap();
    let state: State = serde_json::from_slice(&state).unwrap();
    assert!(state.validation_due && state.history.len() == 1);
    train(folder.path(), &recipe(&[]), 1, None).unwrap();
    same_run(undisturbed.path(), folder.path());
}

#[test]
fn g17_a_disk_that_takes_no_checkpoint_at_all_does_not_keep_training_from_its_end() {
    let undisturbed = tempfile::tempdir().unwrap();
    train(undisturbed.path(), &recipe(&[]), 1, None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    drop(Run::create(folder.path(), &recipe(&[]), identity()).unwrap());
    fs::write(folder.path().join("checkpoints"), "in the way").unwrap();
    let error = train(folder.path(), &recipe(&[]), 1, None).unwrap_err();
    // To read from a folder that is none is refused at the start, before any step is made.
    assert!(matches!(error, TrainError::Store(_)), "{error}");
    fs::remove_file(folder.path().join("checkpoints")).unwrap();
    let mut watcher = |event: Event<'_>| {
        if let Event::Begin { .. } = event {
            fs::write(folder.path().join("checkpoints"), "in the way").unwrap();
        }
    };
    let never = AtomicBool::new(false);
    let data = images(Part::Train);
    train_with(folder.path(), &recipe(&[]), data, [&never, &never], &mut watcher).unwrap();
    same_run(undisturbed.path(), folder.path());
}

/// Images on a disk that can be away.
#[derive(Debug)]
struct Disk {
    images: Arc<Dataset>,
    is_away: AtomicBool,
}

impl Pictures for Disk {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn read(&self, index: usize, into: &mut Vec<u8>) -> Result<Stored, DataError> {
        if self.is_away.load(Ordering::SeqCst) {
            let source = std::io::Error::from(std::io::ErrorKind::TimedOut);
            return Err(DataError::Io { path: self.name(index), source });
        }
        into.resize(self.images.shape().len(), 0);
        self.images.read(index as u64, into)?;
        Ok(Stored::Planes(self.images.shape()))
    }

    fn name(&self, index: usize) -> PathBuf {
        format!("disk/{index}.png").into()
    }
}

#[test]
fn a_disk_that_is_away_for_a_moment_is_read_again_and_one_that_stays_away_costs_no_step() {
    let undisturbed = tempfile::tempdir().unwrap();
    let images = images(Part::Train);
    let names = images.class_names().to_vec();
    let labels = images.labels().to_vec();
    let disk = Arc::new(Disk { images, is_away: AtomicBool::new(false) });
    let pictures = Arc::clone(&disk) as Arc<dyn Pictures>;
    let framing = Framing::AsStored;
    let dataset = Dataset::of_pictures("d", Part::Train, names, labels, pictures, framing);
    let dataset = Arc::new(dataset.unwrap());
    let never = AtomicBool::new(false);
    let none = [&never, &never];
    let sets = recipe(&["training.checkpoint_every_steps=0", "training.epochs=9"]);
    train_with(undisturbed.path(), &sets, Arc::clone(&dataset), none, &mut |_| {}).unwrap();

    // Away before a step's batch is made, and while a validation reads its images.
    let mut retries = 0;
    let mut watcher = |event: Event<'_>| match event {
        Event::Step(metrics) if metrics.step == 5 => disk.is_away.store(true, Ordering::SeqCst),
        Event::Unreadable { .. } => {
            retries += 1;
            disk.is_away.store(false, Ordering::SeqCst);
        }
        _ => {}
    };
    let folder = tempfile::tempdir().unwrap();
    train_with(folder.path(), &sets, Arc::clone(&dataset), none, &mut watcher).unwrap();
    assert!(retries > 0);
    same_run(undisturbed.path(), folder.path());

    let folder = tempfile::tempdir().unwrap();
    let mut last = 0;
    let mut watcher = |event: Event<'_>| {
        if let Event::Step(metrics) = event {
            last = metrics.step;
            disk.is_away.store(last >= 5, Ordering::SeqCst);
        }
    };
    let error = train_with(folder.path(), &sets, Arc::clone(&dataset), none, &mut watcher);
    assert!(error.is_err());
    let kept = folder.path().join(format!("checkpoints/step-{last}"));
    assert!(last >= 5 && kept.is_dir(), "the steps done before are kept");
    disk.is_away.store(false, Ordering::SeqCst);
    train_with(folder.path(), &sets, dataset, none, &mut |_| {}).unwrap();
    same_run(undisturbed.path(), folder.path());
}
