//! The forwards of one training step: clean and adversarial images together or apart, and back again.

use super::sections::ForwardKind;
use crate::image::{Images, Logits};
use crate::objective::Loss;
use engine::{Engine, EngineError, MomentPool, Recording};
use network::{Domain, Domains, Moments, Network, ParameterId, Pass, Statistics};

/// One forward that can be differentiated; clean images come first.
pub struct Forwarded<R> {
    recording: R,
    /// Which of the step's forwards it is, those that met no image included.
    place: usize,
    clean: usize,
    adversarial: usize,
}

/// What the network answered, and how it came to it.
pub struct Answers<R> {
    /// A row per clean image.
    pub clean: Logits,
    /// A row per adversarial image.
    pub adversarial: Logits,
    /// The forwards, in the order in which their moments are absorbed.
    pub forwards: Vec<Forwarded<R>>,
}

/// Shows the network its images.
///
/// With `Concatenated` all images share one forward, so a shared batch norm sees the mixture, as in the caption of the
/// paper's Fig. 4; with `TwoPasses` each kind has batch statistics of its own. Which image is of which kind is told by
/// a domain per image, never inferred from its position (T8).
/// Errors: the engine's.
pub fn forward<E: Engine>(
    engine: &E,
    network: &Network,
    clean: &Images,
    adversarial: &Images,
    kind: ForwardKind,
    statistics: Statistics,
) -> Result<Answers<E::Recording>, EngineError> {
    let record = |images: &Images, pass: &Pass| engine.record(network, images.view(), pass);
    show(network, (clean, adversarial), kind, statistics, Empty::Skipped, record)
}

/// As [`forward`] with batch statistics, of this rank's images out of a batch that all ranks share.
///
/// Errors: the engine's.
pub fn forward_pooled<E: Engine>(
    engine: &E,
    network: &Network,
    pool: &dyn MomentPool,
    (clean, adversarial): (&Images, &Images),
    kind: ForwardKind,
) -> Result<Answers<E::Recording>, EngineError> {
    let record =
        |images: &Images, pass: &Pass| engine.record_pooled(network, images.view(), pass, pool);
    // Another rank may have images of a kind that this one lacks.
    show(network, (clean, adversarial), kind, Statistics::Batch, Empty::Shown, record)
}

/// What becomes of a forward without images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Empty {
    Skipped,
    Shown,
}

fn show<R>(
    network: &Network,
    (clean, adversarial): (&Images, &Images),
    kind: ForwardKind,
    statistics: Statistics,
    empty: Empty,
    record: impl Fn(&Images, &Pass) -> Result<(Logits, R), EngineError>,
) -> Result<Answers<R>, EngineError> {
    let none = Images::zeros(0, clean.shape);
    let passes = match kind {
        ForwardKind::Concatenated => vec![(clean, adversarial)],
        ForwardKind::TwoPasses => vec![(clean, &none), (&none, adversarial)],
    };
    let mut answers = Answers {
        clean: Logits::zeros(0, network.graph.classes),
        adversarial: Logits::zeros(0, network.graph.classes),
        forwards: Vec::new(),
    };
    for (place, (clean, adversarial)) in passes.into_iter().enumerate() {
        if clean.count + adversarial.count == 0 && empty == Empty::Skipped {
            continue;
        }
        let (images, domains) = concatenate(clean, adversarial);
        let pass = Pass { statistics, domains: Domains::PerImage(domains) };
        let (logits, recording) = record(&images, &pass)?;
        let (first, second) = logits.values.split_at(clean.count * logits.classes);
        answers.clean.values.extend_from_slice(first);
        answers.clean.count += clean.count;
        answers.adversarial.values.extend_from_slice(second);
        answers.adversarial.count += adversarial.count;
        let (clean, adversarial) = (clean.count, adversarial.count);
        answers.forwards.push(Forwarded { recording, place, clean, adversarial });
    }
    Ok(answers)
}

impl<R: Recording> Answers<R> {
    /// The gradient of a loss by the parameters, summed over the forwards in their order; each learnt parameter's is handed out
    /// once, by position, as soon as the last backward has completed it. With a pool the forwards were [`forward_pooled`].
    ///
    /// Errors: the engine's; then some are missing.
    pub fn backward<E: Engine<Recording = R>>(
        &self,
        engine: &E,
        network: &Network,
        pool: Option<&dyn MomentPool>,
        loss: &Loss,
        finished: &mut (dyn FnMut(usize, Vec<f32>) + Send),
    ) -> Result<(), EngineError> {
        let mut sums: Vec<Vec<f32>> = vec![Vec::new(); network.parameters.len()];
        let (mut clean, mut adversarial) = (0, 0);
        for (position, forward) in self.forwards.iter().enumerate() {
            let mut by_logits = Logits::zeros(0, network.graph.classes);
            take(&mut by_logits, &loss.by_clean, &mut clean, forward.clean);
            take(&mut by_logits, &loss.by_adversarial, &mut adversarial, forward.adversarial);
            let is_last = position + 1 == self.forwards.len();
            let mut add = |id: ParameterId, gradient: Vec<f32>| {
                let mut sum = std::mem::take(&mut sums[id.0]);
                if sum.is_empty() {
                    sum = gradient;
                } else {
                    sum.iter_mut().zip(&gradient).for_each(|(sum, by_one)| *sum += by_one);
                    engine.recycle(vec![gradient]);
                }
                match is_last {
                    true => finished(id.0, sum),
                    false => sums[id.0] = sum,
                }
            };
            let recording = &forward.recording;
            match pool {
                None => engine.backward_by_parameter(network, recording, &by_logits, &mut add)?,
                Some(pool) => {
                    engine.backward_pooled(network, recording, &by_logits, pool, &mut add)?;
                }
            }
        }
        Ok(())
    }

    /// The moments of each forward in the order in which they are absorbed; none where a forward met no image.
    pub fn moments(&self, kind: ForwardKind) -> Vec<Moments> {
        let moments = |forward: &Forwarded<R>| forward.recording.moments().clone();
        match kind {
            ForwardKind::Concatenated => self.forwards.iter().map(moments).collect(),
            ForwardKind::TwoPasses => {
                let mut found = vec![Moments::default(); 2];
                for forward in &self.forwards {
                    found[forward.place] = moments(forward);
                }
                found
            }
        }
    }
}

fn take(into: &mut Logits, from: &Logits, next: &mut usize, count: usize) {
    let rows = *next * from.classes..(*next + count) * from.classes;
    into.values.extend_from_slice(&from.values[rows]);
    into.count += count;
    *next += count;
}

fn concatenate(clean: &Images, adversarial: &Images) -> (Images, Vec<Domain>) {
    let mut pixels = Vec::with_capacity(clean.pixels.len() + adversarial.pixels.len());
    pixels.extend_from_slice(&clean.pixels);
    pixels.extend_from_slice(&adversarial.pixels);
    let mut domains = vec![Domain::CLEAN; clean.count];
    domains.resize(clean.count + adversarial.count, Domain::ADVERSARIAL);
    let count = clean.count + adversarial.count;
    (Images { count, shape: clean.shape, pixels }, domains)
}
