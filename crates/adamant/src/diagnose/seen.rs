//! What a network's layers see of some images: batch statistics beside the running ones, and gradients.

use super::DiagnoseError;
use super::distance::{Distance, Gaussian};
use super::stored::{LayerStored, stored};
use crate::attack::loss::add_cross_entropy_gradient;
use crate::image::{Batch, Images, Logits};
use crate::spread::{summary, t975};
use engine::{Engine, Recording, Wants};
use network::{Domain, LayerMoments, Moments, Network, NodeParameters, Norm, Op, Pass};
use network::{RunningVariance, Statistics};
use serde::{Deserialize, Serialize};

/// The same images in three forms.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// As they are.
    pub clean: &'a Batch,
    /// After the attack.
    pub adversarial: &'a Images,
    /// After noise of the same size, the control (C14).
    pub noisy: &'a Images,
    /// The branch they all take.
    pub domain: Domain,
    /// Images of one mini-batch; images beyond the last whole one are left out.
    pub batch_size: usize,
}

/// What a batch norm saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerSeen {
    /// Its name.
    pub layer: String,
    /// By channel: mini-batches of the branch's own images beside its running statistics (C9).
    pub channels: Vec<BatchAgainstRunning>,
    /// By channel: from the running statistics to the mini-batches of the branch's own images.
    pub own: Vec<Distance>,
    /// By channel: from clean to adversarial images.
    pub adversarial: Vec<Distance>,
    /// By channel: from clean to noisy images.
    pub noisy: Vec<Distance>,
}

/// Mini-batch statistics of a channel beside its running ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchAgainstRunning {
    /// As the layer holds them.
    pub running: Gaussian,
    /// Mean over mini-batches of their means and variances; these are divided as the running variance is (T12).
    pub batch: Gaussian,
    /// The 95 % interval of the mean over mini-batches of their means, by Student's t.
    pub mean_interval: [f64; 2],
    /// The same of their variances.
    pub variance_interval: [f64; 2],
}

impl BatchAgainstRunning {
    /// Whether the running mean lies outside the sampling interval.
    pub fn mean_is_outside(&self) -> bool {
        is_outside(self.running.mean, self.mean_interval)
    }

    /// Whether the running variance lies outside the sampling interval.
    pub fn variance_is_outside(&self) -> bool {
        is_outside(self.running.variance, self.variance_interval)
    }
}

fn is_outside(value: f64, [low, high]: [f64; 2]) -> bool {
    value < low || value > high
}

/// Lengths of the gradient of the mean cross-entropy by a layer's weights, with batch statistics as in training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerGradient {
    /// The convolution's or linear map's name.
    pub layer: String,
    /// Length of the weights.
    pub weights: f64,
    /// Mean over mini-batches of clean images.
    pub clean: f64,
    /// Mean over mini-batches of adversarial images.
    pub adversarial: f64,
}

/// Runs mini-batches of all three forms through `network`, each by its own batch statistics.
///
/// Errors: `TooFew` for less than two whole mini-batches; the engine's.
pub fn seen<E: Engine>(
    engine: &E,
    network: &Network,
    images: &Seen<'_>,
) -> Result<(Vec<LayerSeen>, Vec<LayerGradient>), DiagnoseError> {
    let Seen { clean, adversarial, noisy, domain, batch_size } = *images;
    let samples = clean.images.count;
    let count = samples / batch_size.max(1);
    if count < 2 {
        return Err(DiagnoseError::TooFew { samples, found: count, batch_size });
    }
    let own = if domain == Domain::CLEAN { &clean.images } else { adversarial };
    let kinds = [&clean.images, adversarial, noisy, own];
    let mut moments: [Vec<Moments>; 4] = Default::default();
    let mut lengths = [Vec::new(), Vec::new()];
    for number in 0..count {
        let positions: Vec<usize> = (number * batch_size..(number + 1) * batch_size).collect();
        let labels: Vec<u32> = positions.iter().map(|&p| clean.labels[p]).collect();
        for (kind, all) in kinds.iter().enumerate() {
            if kind == 3 {
                let same = if domain == Domain::CLEAN { 0 } else { 1 };
                let last = moments[same].last().cloned();
                moments[3].extend(last);
                continue;
            }
            let some = all.select(&positions);
            let pass = Pass { statistics: Statistics::Batch, ..Pass::batch(domain) };
            let (logits, recording) = engine.record(network, some.view(), &pass)?;
            moments[kind].push(recording.moments().clone());
            if let Some(lengths) = lengths.get_mut(kind) {
                let by_logits = loss_gradient(&logits, &labels);
                let wants = Wants::Parameters;
                let gradients = engine.backward(network, &recording, &by_logits, wants)?;
                lengths.push(gradients.parameters);
            }
        }
    }
    let [clean, adversarial, noisy, own] = moments;
    let all = [merged(&clean)?, merged(&adversarial)?, merged(&noisy)?];
    let layers = stored(network);
    let mut norms = network.graph.nodes.iter().enumerate().filter_map(|(place, node)| {
        if let Op::Norm(Norm::Batch(batch)) = &node.op { Some((place, batch)) } else { None }
    });
    let mut found = Vec::with_capacity(layers.len());
    for LayerStored { layer, branches, .. } in layers {
        let (node, batch) = norms.next().expect("as many batch norms as layers");
        let of = |moments: &Moments| {
            let is_it = |layer: &&LayerMoments| layer.node.0 == node;
            moments.layers.iter().find(is_it).cloned().expect("every batch norm met images")
        };
        let [clean, adversarial, noisy] =
            [0, 1, 2].map(|kind| gaussians(&of(&all[kind]), batch.running_variance));
        let epsilon = f64::from(batch.epsilon);
        let distances = |others: &[Gaussian]| -> Vec<Distance> {
            clean.iter().zip(others).map(|(a, b)| a.distance(*b, epsilon)).collect()
        };
        let batches: Vec<Vec<Gaussian>> =
            own.iter().map(|m| gaussians(&of(m), batch.running_variance)).collect();
        let running = &branches[domain.0.min(branches.len() - 1)].running;
        let channels = running.iter().enumerate().map(|(channel, &running)| {
            let of = |part: &dyn Fn(&Gaussian) -> f64| -> Vec<f64> {
                batches.iter().map(|batch| part(&batch[channel])).collect()
            };
            let (mean, mean_interval) = mean_within(&of(&|g| g.mean));
            let (variance, variance_interval) = mean_within(&of(&|g| g.variance));
            let batch = Gaussian { mean, variance };
            BatchAgainstRunning { running, batch, mean_interval, variance_interval }
        });
        let channels: Vec<BatchAgainstRunning> = channels.collect();
        found.push(LayerSeen {
            layer,
            own: channels.iter().map(|c| c.running.distance(c.batch, epsilon)).collect(),
            channels,
            adversarial: distances(&adversarial),
            noisy: distances(&noisy),
        });
    }
    Ok((found, gradients(network, &lengths)))
}

fn merged(batches: &[Moments]) -> Result<Moments, DiagnoseError> {
    let mut all = Moments::default();
    batches.iter().try_for_each(|batch| all.merge(batch))?;
    Ok(all)
}

fn gaussians(layer: &LayerMoments, kind: RunningVariance) -> Vec<Gaussian> {
    let divisor = match kind {
        RunningVariance::Biased => layer.count,
        RunningVariance::Unbiased => layer.count.saturating_sub(1).max(1),
    };
    let pairs = layer.mean.iter().zip(&layer.centred_squares);
    pairs.map(|(&mean, squares)| Gaussian { mean, variance: squares / divisor as f64 }).collect()
}

/// The mean of at least two values, and its 95 % interval by Student's t.
fn mean_within(values: &[f64]) -> (f64, [f64; 2]) {
    let all = summary(values).expect("there are at least two batches");
    let half = t975(all.n - 1) * all.sd / (all.n as f64).sqrt();
    (all.mean, [all.mean - half, all.mean + half])
}

/// The gradient of the mean cross-entropy by the logits: softmax less the truth, divided by the number of images.
fn loss_gradient(logits: &Logits, labels: &[u32]) -> Logits {
    let mut gradient = Logits::zeros(logits.count, logits.classes);
    let share = 1.0 / logits.count as f64;
    for (row, &label) in labels.iter().enumerate() {
        let mut by_row = vec![0.0; logits.classes];
        add_cross_entropy_gradient(logits.row(row), label, share, &mut by_row);
        gradient.row_mut(row).iter_mut().zip(by_row).for_each(|(to, from)| *to = from as f32);
    }
    gradient
}

fn gradients(network: &Network, all: &[Vec<Vec<Vec<f32>>>; 2]) -> Vec<LayerGradient> {
    let length =
        |values: &[f32]| values.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
    let layout = network.layout();
    let weighted = network.graph.nodes.iter().zip(&layout.nodes).filter_map(|(node, found)| {
        let NodeParameters::Weighted { weight, .. } = found else { return None };
        let mean = |kind: usize| {
            let lengths = all[kind].iter().map(|batch| length(&batch[weight.0]));
            lengths.sum::<f64>() / all[kind].len() as f64
        };
        let weights = length(&network.parameters[*weight].values);
        Some(LayerGradient {
            layer: node.name.clone(),
            weights,
            clean: mean(0),
            adversarial: mean(1),
        })
    });
    weighted.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_students_t() {
        let (mean, [low, high]) = mean_within(&[1.0, 3.0]);
        assert_eq!(mean, 2.0);
        assert!((high - low - 2.0 * 12.706).abs() < 1e-9);
    }

    #[test]
    fn the_gradient_by_the_logits_sums_to_nothing_over_classes() {
        let logits = Logits { count: 2, classes: 2, values: vec![0.0, 0.0, 3.0, 3.0] };
        let gradient = loss_gradient(&logits, &[0, 1]);
        assert_eq!(gradient.values, [-0.25, 0.25, 0.25, -0.25]);
    }
}
