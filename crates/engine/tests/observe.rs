//! Watching a frozen network: what is told, and that watching changes nothing.

mod support;

use engine::{Direction, Engine, Frozen, Logits, Observable, Precision, Session, StepObserver};
use network::Domain;
use support::{engine, images, randomized, view, weights_of_logits};

/// All that was told, in order.
#[derive(Default)]
struct Diary {
    open: Option<(Direction, usize)>,
    entries: Vec<(Direction, usize)>,
}

impl StepObserver for Diary {
    fn before(&mut self, direction: Direction, step: usize) {
        assert_eq!(self.open.replace((direction, step)), None, "steps do not nest");
    }

    fn after(&mut self, direction: Direction, step: usize) {
        assert_eq!(self.open.take(), Some((direction, step)));
        self.entries.push((direction, step));
    }
}

#[test]
fn an_observer_sees_every_step_both_ways_and_changes_no_bit() {
    let mut architecture = network::Architecture::named("resnet8-cifar").unwrap();
    architecture.input = network::Shape::new(3, 9, 9);
    architecture.classes = 3;
    let network = randomized(architecture.graph().unwrap(), 4);
    let engine = engine(1);
    let frozen = engine.freeze(&network, Domain::CLEAN, Precision::F32).unwrap();
    let count = frozen.tile() + 1;
    let pixels = images(&network, count, 5);
    let upstream = weights_of_logits(count, 6);
    let mut loss = |_: &Logits, first: usize, gradient: &mut Logits| {
        let values = &upstream.values[first * 3..][..gradient.values.len()];
        gradient.values.copy_from_slice(values);
    };
    let mut session = frozen.session();
    let alone = session.input_gradient(view(&network, &pixels), &mut loss).unwrap();
    let mut diary = Diary::default();
    let images = view(&network, &pixels);
    let watched = engine::cpu::CpuFrozen::observed_input_gradient(
        &mut session,
        images,
        &mut loss,
        &mut diary,
    );
    assert_eq!(watched.unwrap(), alone);

    let steps = frozen.steps();
    let forward = (0..steps.len()).map(|step| (Direction::Forward, step));
    let backward = (0..steps.len()).rev().map(|step| (Direction::Backward, step));
    let tile: Vec<_> = forward.chain(backward).collect();
    assert_eq!(diary.entries, [&tile[..], &tile[..]].concat(), "two tiles");
    let macs: u64 = steps.iter().map(|step| step.macs).sum();
    assert_eq!(macs, network.graph.count().unwrap().macs, "folding removes no multiplication");
}
