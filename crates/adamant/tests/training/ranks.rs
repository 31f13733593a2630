//! Group G30: runs over several ranks, here threads.

use super::*;
use adamant::train::follow::follow;
use collective::Collective;
use collective::{CollectiveError, Threads};
use std::thread;
use std::time::Duration;

/// How the ranks of a run ended, rank 0 first.
type Ends = Vec<Result<(), TrainError>>;

/// Trains in `folder` on so many ranks; `stop` asks rank `stop.0` for the end after step `stop.1`.
fn train_on_ranks(
    folder: &Path,
    recipe: &Recipe,
    ranks: usize,
    stop: Option<(usize, u64)>,
) -> Ends {
    let plan = Plan::new(recipe).unwrap();
    let interrupts: Vec<AtomicBool> = (0..ranks).map(|_| AtomicBool::new(false)).collect();
    let never = AtomicBool::new(false);
    let rank = |collective: &Threads| {
        let engine = engine(1).training_in(plan.precision.resolve(Precision::F32));
        let setting = Setting {
            engine: &engine,
            collective,
            plan: &plan,
            dataset: images(Part::Train),
            interrupt: &interrupts[collective.rank()],
            checkpoint_now: &never,
        };
        if collective.rank() > 0 {
            return engine.pool().install(|| follow(&setting));
        }
        let mut run = match folder.join("recipe.toml").exists() {
            true => Run::resume(folder)?.0,
            false => Run::create(folder, recipe, identity())?,
        };
        let mut watcher = |event: Event<'_>| {
            if let (Event::Step(metrics), Some((rank, step))) = (event, stop)
                && metrics.step >= step
            {
                interrupts[rank].store(true, Ordering::SeqCst);
            }
        };
        engine.pool().install(|| fit(&setting, &mut run, &mut watcher)).map(|_| ())
    };
    thread::scope(|scope| {
        let world = Threads::world(ranks, Duration::from_secs(60));
        let threads: Vec<_> = world
            .into_iter()
            .map(|collective| {
                scope.spawn(|| {
                    let own = collective;
                    rank(&own)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no rank panics")).collect()
    })
}

fn trained(recipe: &Recipe, ranks: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for end in train_on_ranks(folder.path(), recipe, ranks, None) {
        end.unwrap();
    }
    folder
}

/// 20 steps of 16 images: 4 in each of 5 epochs.
fn recipe_of(sets: &[&str]) -> Recipe {
    recipe(&[&["training.epochs=5", "evaluation.every_epochs=5"], sets].concat())
}

#[test]
fn g30_one_two_and_four_ranks_train_the_same_network_bit_for_bit() {
    for sets in [
        &["training.freeze_statistics_from_epoch=0"][..],
        &["training.freeze_statistics_from_epoch=2", "training.frozen_statistics=ema"],
        &["objective.clean_fraction=0.3", "objective.forward=two-passes"],
        &["training.batch_size=15", "training.wire=bf16", "training.workers=2"],
    ] {
        let mut all = vec!["training.workers=4"];
        all.extend(sets);
        let recipe = recipe_of(&all);
        let workers = recipe.training.workers;
        // Half the bytes round, so that wire is compared with itself.
        let fewest = if sets.contains(&"training.wire=bf16") { 2 } else { 1 };
        let first = trained(&recipe, fewest);
        for ranks in [2, 4].into_iter().filter(|&ranks| ranks <= workers) {
            same_run(first.path(), trained(&recipe, ranks).path());
        }
    }
}

/// With running statistics images do not depend on each other, so workers change nothing but the order of sums. Largest
/// difference of a parameter after 20 steps, relative to the largest parameter: 1e-4 is what rounding may become, for
/// an attack turns the sign of a gradient near zero into a whole step.
#[test]
fn g30_workers_change_only_the_order_of_sums_where_statistics_are_running() {
    let network = |workers: &str, ranks| {
        let sets = ["training.freeze_statistics_from_epoch=0", "objective.kind=standard", workers];
        let folder = trained(&recipe_of(&sets), ranks);
        Network::read(&folder.path().join(LAST)).unwrap()
    };
    let (one, four) = (network("training.workers=1", 1), network("training.workers=4", 4));
    let values = |network: &Network| -> Vec<f32> {
        network.parameters.iter().flat_map(|p| p.values.clone()).collect()
    };
    let (one, four) = (values(&one), values(&four));
    let largest = one.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let pairs = one.iter().zip(&four);
    let apart = pairs.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
    assert!(apart > 0.0 && apart / largest < 1e-4, "{}", apart / largest);
}

/// With synchronised batch norm 1 x 16, 2 x 8 and 4 x 4 images are one batch: parameters and running statistics differ by the
/// order of sums only. Largest difference after 20 steps relative to the largest value: 1e-4 as above.
#[test]
fn g30_synchronised_batch_norm_trains_the_network_of_the_whole_batch() {
    let trained_values = |sets: &[&str], ranks| -> Vec<f32> {
        let folder = trained(&recipe_of(sets), ranks);
        let network = Network::read(&folder.path().join(LAST)).unwrap();
        network.parameters.iter().flat_map(|p| p.values.clone()).collect()
    };
    let apart = |left: &[f32], right: &[f32]| {
        let largest = left.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let pairs = left.iter().zip(right);
        pairs.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs())) / largest
    };
    let synchronised = "training.batch_moments=synchronised";
    for kind in [
        &["objective.kind=standard", "network.norm=batch"][..],
        &["training.batch_size=15", "objective.forward=two-passes"],
        &["training.freeze_statistics_from_epoch=3", "training.frozen_statistics=ema"],
    ] {
        let with = |sets: &[&'static str]| [kind, sets].concat();
        let one = trained_values(&with(&["training.workers=4", synchronised]), 1);
        for ranks in [2, 4] {
            let more = trained_values(&with(&["training.workers=4", synchronised]), ranks);
            assert!(apart(&one, &more) < 1e-4, "{kind:?} {ranks}: {}", apart(&one, &more));
        }
        // Only workers that draw nothing see what a single one sees.
        if kind.contains(&"objective.kind=standard") {
            let single = trained_values(&with(&["training.workers=1"]), 1);
            assert!(apart(&one, &single) < 1e-4, "{}", apart(&one, &single));
            let local = trained_values(&with(&["training.workers=4"]), 2);
            assert!(apart(&one, &local) > 1e-3, "statistics of four images are others");
        }
    }
}

#[test]
fn g30_a_rank_that_fails_under_synchronised_batch_norm_ends_all_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let sets = [
        "training.workers=2",
        "training.batch_moments=synchronised",
        "optimizer.learning_rate=1e30",
        "training.loss_limit=0",
    ];
    for end in train_on_ranks(folder.path(), &recipe_of(&sets), 2, None) {
        let message = end.unwrap_err().to_string();
        assert!(message.contains("finite"), "{message}");
    }
}

#[test]
fn g30_gradients_that_travel_after_the_backward_or_in_other_buckets_train_the_same_network() {
    let first = trained(&recipe_of(&["training.workers=2"]), 2);
    for set in ["training.overlap=none", "training.bucket_mib=1"] {
        same_run(first.path(), trained(&recipe_of(&["training.workers=2", set]), 2).path());
    }
}

#[test]
fn g30_a_run_goes_on_with_the_same_bytes_on_more_or_fewer_ranks() {
    let recipe = recipe_of(&["training.workers=4"]);
    let whole = trained(&recipe, 1);
    let folder = tempfile::tempdir().unwrap();
    for (ranks, stop) in [(4, (0, 5)), (1, (0, 9)), (2, (1, 13))] {
        for end in train_on_ranks(folder.path(), &recipe, ranks, Some(stop)) {
            assert!(matches!(end, Err(TrainError::Interrupted { .. })), "{ranks}: {end:?}");
        }
    }
    for end in train_on_ranks(folder.path(), &recipe, 4, None) {
        end.unwrap();
    }
    same_run(whole.path(), folder.path());
}

#[test]
fn g30_ranks_that_cannot_share_the_workers_say_what_would_fit() {
    let folder = tempfile::tempdir().unwrap();
    let ends = train_on_ranks(folder.path(), &recipe_of(&["training.workers=3"]), 2, None);
    let message = ends[0].as_ref().unwrap_err().to_string();
    assert!(
        message.starts_with("training.workers is 3, which 2 ranks cannot share\n"),
        "{message}"
    );
    assert!(ends[1].is_err());
}

#[test]
fn g30_a_step_that_cannot_be_taken_ends_all_ranks_with_images_named() {
    let folder = tempfile::tempdir().unwrap();
    let sets = ["training.workers=2", "optimizer.learning_rate=1e30", "training.loss_limit=0"];
    let ends = train_on_ranks(folder.path(), &recipe_of(&sets), 2, None);
    for end in &ends {
        let message = end.as_ref().unwrap_err().to_string();
        assert!(message.contains("finite") && message.contains("images of the step"), "{message}");
    }
}

#[test]
fn g30_a_rank_that_dies_ends_the_run_and_the_checkpoint_is_whole() {
    let recipe = recipe_of(&["training.workers=2"]);
    let plan = Plan::new(&recipe).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let never = AtomicBool::new(false);
    let mut world = Threads::world(2, Duration::from_secs(60)).into_iter();
    let (first, second) = (world.next().unwrap(), world.next().unwrap());
    let error = thread::scope(|scope| {
        scope.spawn(|| {
            let second = second;
            // The command to load, the checkpoint, and then it is gone.
            second.gather("command", &[]).unwrap();
            second.broadcast(0, Vec::new()).unwrap();
        });
        let engine = engine(1);
        let mut run = Run::create(folder.path(), &recipe, identity()).unwrap();
        let dataset = images(Part::Train);
        let setting = Setting {
            engine: &engine,
            collective: &first,
            plan: &plan,
            dataset,
            interrupt: &never,
            checkpoint_now: &never,
        };
        fit(&setting, &mut run, &mut |_: Event<'_>| {}).unwrap_err()
    });
    let gone = CollectiveError::Left { operation: "command", left: 1 };
    assert!(matches!(&error, TrainError::Collective(found) if *found == gone), "{error}");
    same_run(trained(&recipe, 1).path(), {
        for end in train_on_ranks(folder.path(), &recipe, 2, None) {
            end.unwrap();
        }
        folder.path()
    });
}
