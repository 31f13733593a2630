//! The forwards of one training step: clean and adversarial images together or apart, and back again.

use super::sections::ForwardKind;
use crate::image::{Images, Logits};
use crate::objective::Loss;
use engine::{Engine, EngineError, Recording, Wants};
use network::{Domain, Domains, Moments, Network, Pass, Statistics};

/// One forward that can be differentiated; clean images come first.
pub struct Forwarded<R> {
    recording: R,
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
    for (clean, adversarial) in passes {
        if clean.count + adversarial.count == 0 {
            continue;
        }
        let (images, domains) = concatenate(clean, adversarial);
        let pass = Pass { statistics, domains: Domains::PerImage(domains) };
        let (logits, recording) = engine.record(network, images.view(), &pass)?;
        let (first, second) = logits.values.split_at(clean.count * logits.classes);
        answers.clean.values.extend_from_slice(first);
        answers.clean.count += clean.count;
        answers.adversarial.values.extend_from_slice(second);
        answers.adversarial.count += adversarial.count;
        let (clean, adversarial) = (clean.count, adversarial.count);
        answers.forwards.push(Forwarded { recording, clean, adversarial });
    }
    Ok(answers)
}

impl<R: Recording> Answers<R> {
    /// The gradient of a loss by the parameters, summed over the forwards in their order.
    ///
    /// Errors: the engine's.
    pub fn backward<E: Engine<Recording = R>>(
        &self,
        engine: &E,
        network: &Network,
        loss: &Loss,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        let mut sum: Vec<Vec<f32>> = Vec::new();
        let (mut clean, mut adversarial) = (0, 0);
        for forward in &self.forwards {
            let mut by_logits = Logits::zeros(0, network.graph.classes);
            take(&mut by_logits, &loss.by_clean, &mut clean, forward.clean);
            take(&mut by_logits, &loss.by_adversarial, &mut adversarial, forward.adversarial);
            let gradients =
                engine.backward(network, &forward.recording, &by_logits, Wants::Parameters)?;
            if sum.is_empty() {
                sum = gradients.parameters;
                continue;
            }
            for (sum, gradient) in sum.iter_mut().zip(&gradients.parameters) {
                sum.iter_mut().zip(gradient).for_each(|(s, g)| *s += g);
            }
        }
        Ok(sum)
    }

    /// The moments of each forward in the order in which they are absorbed; none where a forward met no image.
    pub fn moments(&self, kind: ForwardKind) -> Vec<Moments> {
        let moments = |forward: &Forwarded<R>| forward.recording.moments().clone();
        match kind {
            ForwardKind::Concatenated => self.forwards.iter().map(moments).collect(),
            ForwardKind::TwoPasses => {
                let mut found = vec![Moments::default(); 2];
                for forward in &self.forwards {
                    found[usize::from(forward.adversarial > 0)] = moments(forward);
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
