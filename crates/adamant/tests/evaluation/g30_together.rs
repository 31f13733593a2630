//! Group G30: ranks that judge together leave the ledger of one process, and none has all the work.

use crate::support::{SHAPE, batch, engine, network, threat};
use adamant::attack::{self, Attack, AttackDefaults, AttackError, AttackStream, Perturbed, Victim};
use adamant::evaluate::audit::{Audit, Depth};
use adamant::evaluate::{
    Conduct, EvaluateError, Evaluation, Evaluator, Examples, LEDGER, Ledger, Merged, Protocol,
    Samples, Silent, Subject, merge,
};
use adamant::image::{Batch, Shape};
use collective::{Collective, Solo, Threads};
use engine::Precision;
use network::{Domain, Network};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

const IMAGES: usize = 203;

fn evaluator(attacks: Vec<Box<dyn Attack>>) -> Evaluator {
    Evaluator {
        threat: threat("8/255"),
        attacks,
        protocol: Protocol::WorstCase,
        branch: Domain::CLEAN,
        attack_branch: Domain::CLEAN,
        precision: Precision::F32,
        samples: Samples::All,
        seed: 3,
        batch_size: 8,
    }
}

fn attacks() -> Vec<Box<dyn Attack>> {
    let defaults = AttackDefaults::new(threat("8/255"));
    let named = |name: &&str| attack::parse(name, &defaults).expect("a known attack");
    ["fgsm", "pgd-3-2", "targeted-pgd-2"].iter().map(named).collect()
}

/// Images of which only so many can be read.
struct Failing<'a> {
    images: &'a Batch,
    left: AtomicUsize,
}

impl Examples for Failing<'_> {
    fn count(&self) -> usize {
        IMAGES
    }
    fn shape(&self) -> Shape {
        SHAPE
    }
    fn read(&self, positions: &[usize]) -> Result<Batch, Box<dyn std::error::Error + Send + Sync>> {
        let enough = |left: usize| left.checked_sub(positions.len());
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, enough) {
            Ok(_) => self.images.read(positions),
            Err(_) => Err("the disk is gone".into()),
        }
    }
}

/// Where a rank keeps its ledger, as the program has it.
fn place(folder: &Path, rank: usize) -> PathBuf {
    match rank {
        0 => folder.join(LEDGER),
        _ => folder.join(format!("rank-{rank}")).join(LEDGER),
    }
}

fn ledger(folder: &Path, rank: usize) -> Ledger {
    let path = place(folder, rank);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut ledger = match path.exists() {
        true => Ledger::resume(&path).unwrap(),
        false => Ledger::create(&path).unwrap(),
    };
    for other in 1..4 {
        if rank == 0 && place(folder, other).exists() {
            ledger.adopt(&place(folder, other)).unwrap();
        }
    }
    ledger
}

/// One rank's part of an evaluation, whose ledgers lie in `folder`.
fn judge(
    ranks: &dyn Collective,
    evaluator: &Evaluator,
    network: &Network,
    examples: &dyn Examples,
    folder: &Path,
) -> Result<Evaluation, EvaluateError> {
    let engine = engine();
    let subject = Subject { model: "noise".into(), data: "noise".into() };
    let audit = Some(Audit { depth: Depth::Quick });
    let ledger = ledger(folder, ranks.rank());
    let conduct = Conduct { ranks, ledger, audit, ..Conduct::default() };
    engine
        .pool()
        .install(|| evaluator.conduct(&engine, network, subject, examples, &mut Silent, conduct))
}

/// What each of so many ranks makes of `work`.
fn on_ranks<T: Send>(size: usize, work: impl Fn(&Threads) -> T + Sync) -> Vec<T> {
    let world = Threads::world(size, Duration::from_secs(20));
    let work = &work;
    thread::scope(|scope| {
        let begun = world.into_iter().map(|rank| scope.spawn(move || work(&rank)));
        let begun: Vec<_> = begun.collect();
        begun.into_iter().map(|rank| rank.join().expect("a rank does not panic")).collect()
    })
}

/// The ledger and the figures of one process.
fn alone(network: &Network, images: &Batch) -> Merged {
    let folder = tempfile::tempdir().unwrap();
    judge(&Solo, &evaluator(attacks()), network, images, folder.path()).expect("figures");
    merge(&[folder.path().to_path_buf()]).expect("a whole ledger")
}

fn written(folder: &Path) -> String {
    std::fs::read_to_string(place(folder, 0)).expect("the ledger of rank 0")
}

#[test]
fn g30_ranks_leave_the_ledger_of_one_process_whatever_their_number() {
    let (network, images) = (network(), batch(IMAGES));
    let expected = alone(&network, &images);
    assert!(expected.evaluation.attacks.iter().all(|attack| attack.attacked > 20), "survivors");
    for size in [2, 3] {
        let folder = tempfile::tempdir().unwrap();
        let figures = on_ranks(size, |rank| {
            judge(rank, &evaluator(attacks()), &network, &images, folder.path()).expect("figures")
        });
        assert_eq!(written(folder.path()), expected.ledger(), "{size} ranks");
        for mut found in figures {
            found.attacks.iter_mut().for_each(|attack| attack.seconds = 0.0);
            let mut one = expected.evaluation.clone();
            one.attacks.iter_mut().for_each(|attack| attack.seconds = 0.0);
            assert_eq!(found, one, "every rank has the figures of all");
        }
    }
}

#[test]
fn g30_what_a_lost_rank_leaves_is_gone_on_with_on_another_number_of_ranks() {
    let (network, images) = (network(), batch(IMAGES));
    let expected = alone(&network, &images);
    // Rank 1 ends among the clean images, within the first attack, and within the second.
    for readable in [60, 200, 340] {
        for (size, keeps) in [(1, true), (3, true), (2, true), (2, false)] {
            let folder = tempfile::tempdir().unwrap();
            let ended = on_ranks(2, |rank| {
                let left = if rank.rank() == 1 { readable } else { usize::MAX };
                let examples = Failing { images: &images, left: AtomicUsize::new(left) };
                judge(rank, &evaluator(attacks()), &network, &examples, folder.path())
            });
            // Where the other was much faster, rank 1 may not have come to where it fails.
            if ended[1].is_err() {
                let error = ended[0].as_ref().unwrap_err().to_string();
                assert!(error.contains("rank 1 has ended"), "{error}");
            }
            if !keeps {
                std::fs::remove_file(place(folder.path(), 1)).unwrap();
            }
            let resumed = |rank: &dyn Collective| {
                judge(rank, &evaluator(attacks()), &network, &images, folder.path()).map(drop)
            };
            match size {
                1 => {
                    resumed(&Solo).expect("figures");
                    let merged = merge(&[folder.path().to_path_buf()]).expect("a whole ledger");
                    assert_eq!(merged.ledger(), expected.ledger(), "{readable}");
                }
                _ => {
                    let ended = on_ranks(size, |rank| resumed(rank));
                    ended.into_iter().for_each(|rank| rank.expect("figures"));
                    assert_eq!(written(folder.path()), expected.ledger(), "{readable}, {size}");
                }
            }
        }
    }
}

#[test]
fn g30_ranks_that_judge_another_model_are_named_before_anything_is_judged() {
    let (network, images) = (network(), batch(40));
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let errors = on_ranks(2, |rank| {
        let evaluator = Evaluator { seed: rank.rank() as u64, ..evaluator(attacks()) };
        let folder = folders[rank.rank()].path();
        judge(rank, &evaluator, &network, &images, folder).unwrap_err().to_string()
    });
    for error in errors {
        assert_eq!(error, "rank 1 has another seed than rank 0: 1, expected 0");
    }
}

/// An attack that takes its time with images from the middle on, and none with the others.
struct SlowInTheEnd<'a> {
    taken: &'a AtomicUsize,
}

impl Attack for SlowInTheEnd<'_> {
    fn name(&self) -> String {
        "slow in the end".into()
    }

    fn perturb(
        &self,
        _victim: &mut dyn Victim,
        batch: &Batch,
        _stream: &AttackStream,
    ) -> Result<Perturbed, AttackError> {
        for _ in batch.indices.iter().filter(|&&index| index >= IMAGES as u64 / 2) {
            sleep(Duration::from_millis(8));
            self.taken.fetch_add(1, Ordering::SeqCst);
        }
        let restarts = vec![0; batch.images.count];
        Ok(Perturbed { images: batch.images.clone(), targets: None, restarts })
    }
}

#[test]
fn g30_a_rank_whose_images_are_done_takes_some_of_the_others() {
    let (network, images) = (network(), batch(IMAGES));
    let folder = tempfile::tempdir().unwrap();
    static TAKEN: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];
    on_ranks(2, |rank| {
        let slow = SlowInTheEnd { taken: &TAKEN[rank.rank()] };
        let evaluator = evaluator(vec![Box::new(slow)]);
        judge(rank, &evaluator, &network, &images, folder.path()).expect("figures");
    });
    let taken = [0, 1].map(|rank| TAKEN[rank].load(Ordering::SeqCst));
    // A ninth of images is wrong as it is. Dealt by index before the attack, one rank would have none of them; pieces are
    // of 8 images, and the machine of a test may have other things to do.
    let all: usize = taken.iter().sum();
    assert!(all > 80 && taken.iter().all(|&own| own >= all / 4), "{taken:?}");
}
