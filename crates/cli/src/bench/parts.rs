//! The parts that are timed.

use super::subject::Subject;
use super::{BenchArguments, timing};
use adamant::attack::loss::add_cross_entropy_gradient;
use adamant::attack::{Attack, AttackError, AttackStream, NoAttack, Perturbed, Victim};
use adamant::image::{Batch, Logits};
use adamant::optimizer::Sgd;
use adamant::stream::Stream;
use adamant::train::trainer::Trainer;
use adamant::victim::{logits_in_tiles, perturb_in_tiles};
use clap::ValueEnum;
use collective::Solo;
use engine::cpu::CpuEngine;
use engine::{Engine, Precision, Wants};
use network::Pass;
use std::collections::BTreeMap;
use std::fmt;

/// One of the things that are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Part {
    /// Folding and packing a network for an attack.
    Freeze,
    /// Logits of a batch by the frozen network.
    Forward,
    /// Logits and input gradient of a batch by the frozen network.
    AttackPass,
    /// Recording of a batch with batch statistics, and the gradients of all parameters.
    TrainingPass,
    /// A whole training step.
    Step,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Freeze, Self::Forward, Self::AttackPass, Self::TrainingPass, Self::Step];

    /// The name in JSON.
    pub fn key(self) -> &'static str {
        match self {
            Self::Freeze => "freeze",
            Self::Forward => "forward",
            Self::AttackPass => "attack_pass",
            Self::TrainingPass => "training_pass",
            Self::Step => "step",
        }
    }

    /// How many forwards of one batch the part is worth: an input gradient costs as much as a forward, the gradients of
    /// the parameters as much again.
    pub fn forwards(self, arguments: &BenchArguments) -> Option<u64> {
        let shown = match arguments.method {
            super::Method::Mixture => 2,
            super::Method::AdversarialOnly => 1,
        };
        match self {
            Self::Freeze => None,
            Self::Forward => Some(1),
            Self::AttackPass => Some(2),
            Self::TrainingPass => Some(3),
            Self::Step => Some(2 * arguments.steps.get() as u64 + 3 * shown),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key().replace('_', "-"))
    }
}

/// Milliseconds of every run of every part asked for.
pub fn measure(
    arguments: &BenchArguments,
    subject: &Subject,
    engine: &CpuEngine,
    precision: Precision,
) -> anyhow::Result<BTreeMap<Part, Vec<f64>>> {
    let Subject { plan, network, batch, domain, .. } = subject;
    let frozen = engine.freeze(network, *domain, precision)?;
    let stream = AttackStream { stream: Stream::new(0), time: 0, rank: 0, first_restart: 0 };
    let upstream = logit_gradient(batch, network.graph.classes);
    let pass = Pass::batch(*domain);
    let mut trainer = Trainer {
        engine,
        collective: &Solo,
        plan,
        schedule: plan.schedule(1),
        network: network.clone(),
        optimizer: Sgd::new(plan.optimizer, &network.parameters),
    };
    let mut step = 0;
    let mut timed = BTreeMap::new();
    for &part in &arguments.parts {
        let samples = timing::milliseconds(arguments.runs.get(), || {
            match part {
                Part::Freeze => drop(engine.freeze(network, *domain, precision)?),
                Part::Forward => drop(logits_in_tiles(&frozen, &batch.images)?),
                Part::AttackPass => {
                    drop(perturb_in_tiles(&frozen, &OneGradient, batch, &stream)?);
                }
                Part::TrainingPass => {
                    let (_, recording) = engine.record(network, batch.images.view(), &pass)?;
                    let found =
                        engine.backward(network, &recording, &upstream, Wants::Parameters)?;
                    engine.recycle(found.parameters);
                }
                Part::Step => {
                    trainer.step(batch, step, 0)?;
                    step += 1;
                }
            }
            Ok(())
        })?;
        timed.insert(part, samples);
    }
    Ok(timed)
}

/// What PGD does in one of its steps, but for the step: one forward and one input gradient.
struct OneGradient;

impl Attack for OneGradient {
    fn name(&self) -> String {
        "one-gradient".to_string()
    }

    fn perturb(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        stream: &AttackStream,
    ) -> Result<Perturbed, AttackError> {
        let mut loss = |logits: &Logits, first: usize, gradient: &mut Logits| {
            cross_entropy(logits, &batch.labels[first..], gradient);
        };
        drop(victim.input_gradient(&batch.images, &mut loss)?);
        NoAttack.perturb(victim, batch, stream)
    }
}

/// The gradient of the summed cross-entropy of some images by their logits.
pub fn cross_entropy(logits: &Logits, labels: &[u32], gradient: &mut Logits) {
    for (index, &label) in labels.iter().enumerate().take(logits.count) {
        let mut row = vec![0.0; logits.classes];
        add_cross_entropy_gradient(logits.row(index), label, 1.0, &mut row);
        gradient.row_mut(index).iter_mut().zip(row).for_each(|(to, from)| *to = from as f32);
    }
}

/// Of a training pass: dense, of the size that a mean over the batch has.
fn logit_gradient(batch: &Batch, classes: usize) -> Logits {
    let mut gradient = Logits::zeros(batch.images.count, classes);
    let flat = Logits::zeros(batch.images.count, classes);
    cross_entropy(&flat, &batch.labels, &mut gradient);
    gradient.values.iter_mut().for_each(|value| *value /= batch.images.count as f32);
    gradient
}
