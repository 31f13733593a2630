//! What a cell's batch norms hold and see, as shares of their channels.

use crate::diagnose::seen::BatchAgainstRunning;
use crate::diagnose::{Diagnosis, Distance};
use serde::{Deserialize, Serialize};

/// The share that two equal distances give.
pub(super) const HALF: &str = "half";

/// Shares of all channels of all batch norms of a network, from [`Diagnosis`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatisticsRecord {
    /// Test images looked at.
    pub images: usize,
    /// Channels.
    pub channels: usize,
    /// The attack.
    pub attack: String,
    /// Running mean outside the 95 % interval of mini-batches of the branch's own images (C9).
    pub mean_outside: f64,
    /// Running variance outside that interval (C9).
    pub variance_outside: f64,
    /// Mean of mini-batches off the running one by more than a tenth of the running standard deviation (C9).
    pub mean_off: f64,
    /// Variance of mini-batches off the running one by more than a tenth of it (C9).
    pub variance_off: f64,
    /// The branches' running statistics farther apart than the adversarial branch's are from its own images; none where there is
    /// one branch (C8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apart: Option<f64>,
    /// Moved farther by the attack than by noise of the same length (C14).
    pub moved: f64,
}

/// A difference below this share counts as none.
const TOLERANCE: f64 = 0.1;

fn is_mean_off(channel: &BatchAgainstRunning) -> bool {
    (channel.batch.mean - channel.running.mean).abs() > TOLERANCE * channel.running.variance.sqrt()
}

fn is_variance_off(channel: &BatchAgainstRunning) -> bool {
    let BatchAgainstRunning { running, batch, .. } = channel;
    (batch.variance - running.variance).abs() > TOLERANCE * running.variance
}

impl StatisticsRecord {
    /// Counts channels. None where the network has no batch norm.
    pub fn of(found: &Diagnosis) -> Option<Self> {
        let channels: usize = found.seen.iter().map(|layer| layer.channels.len()).sum();
        if channels == 0 {
            return None;
        }
        let share = |count: usize| count as f64 / channels as f64;
        let seen = || found.seen.iter().flat_map(|layer| &layer.channels);
        let farther = |(one, other): &(&Distance, &Distance)| one.divergence > other.divergence;
        let moved = found.seen.iter().flat_map(|layer| layer.adversarial.iter().zip(&layer.noisy));
        let layers = found.stored.iter().zip(&found.seen);
        let apart = layers.flat_map(|(stored, seen)| stored.distances.iter().zip(&seen.own));
        let has_two = found.stored.iter().any(|layer| !layer.distances.is_empty());
        Some(Self {
            images: found.samples,
            channels,
            attack: found.attack.clone(),
            mean_outside: share(seen().filter(|channel| channel.mean_is_outside()).count()),
            variance_outside: share(seen().filter(|channel| channel.variance_is_outside()).count()),
            mean_off: share(seen().filter(|channel| is_mean_off(channel)).count()),
            variance_off: share(seen().filter(|channel| is_variance_off(channel)).count()),
            apart: has_two.then(|| share(apart.filter(farther).count())),
            moved: share(moved.filter(farther).count()),
        })
    }

    /// The share a [`super::Quantity`] names: `mean-outside`, `variance-outside`, `mean-off`, `variance-off`, `apart`, `moved`; or `half`, what two equal
    /// distances give.
    pub fn share(&self, named: &str) -> Option<f64> {
        match named {
            "mean-outside" => Some(self.mean_outside),
            "variance-outside" => Some(self.variance_outside),
            "mean-off" => Some(self.mean_off),
            "variance-off" => Some(self.variance_off),
            "apart" => self.apart,
            "moved" => Some(self.moved),
            HALF => Some(0.5),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::{Gaussian, LayerSeen, LayerStored};
    use crate::study::findings::tests::record;
    use crate::study::{Quantity, STATISTICS};

    fn far(divergence: f64) -> Distance {
        Distance { divergence, shift: 0.0 }
    }

    /// A layer of two channels: `outside` says which of their variances leave the interval.
    fn layer(outside: [bool; 2], stored: [f64; 2], attack: [f64; 2]) -> (LayerStored, LayerSeen) {
        let channel = |is_outside: bool| BatchAgainstRunning {
            running: Gaussian { mean: 0.0, variance: if is_outside { 9.0 } else { 1.0 } },
            batch: Gaussian { mean: 0.0, variance: 1.0 },
            mean_interval: [-1.0, 1.0],
            variance_interval: [0.5, 2.0],
        };
        let name = "norm".to_string();
        let distances = stored.map(far).to_vec();
        let stored = LayerStored { layer: name.clone(), branches: Vec::new(), distances };
        let seen = LayerSeen {
            layer: name,
            channels: outside.map(channel).to_vec(),
            own: vec![far(1.0); 2],
            adversarial: attack.map(far).to_vec(),
            noisy: vec![far(1.0); 2],
        };
        (stored, seen)
    }

    fn diagnosis() -> Diagnosis {
        let layers = [
            layer([true, false], [2.0, 0.5], [2.0, 2.0]),
            layer([false, false], [2.0, 3.0], [0.5, 2.0]),
        ];
        let (stored, seen) = layers.into_iter().unzip();
        Diagnosis {
            model: "some".into(),
            data: "some".into(),
            samples: 64,
            batch_size: 8,
            seed: 0,
            threat: "Linf 0.1".into(),
            attack: "pgd-20".into(),
            change: [1.0, 1.0],
            stored,
            seen,
            gradients: Vec::new(),
            climb: Vec::new(),
        }
    }

    #[test]
    fn channels_are_counted_over_all_layers() {
        let found = StatisticsRecord::of(&diagnosis()).unwrap();
        assert_eq!((found.channels, found.images), (4, 64));
        assert_eq!((found.mean_outside, found.variance_outside), (0.0, 0.25));
        assert_eq!((found.mean_off, found.variance_off), (0.0, 0.25));
        assert_eq!((found.apart, found.moved), (Some(0.75), 0.75));
        let mut one = diagnosis();
        one.stored.iter_mut().for_each(|layer| layer.distances.clear());
        assert_eq!(StatisticsRecord::of(&one).unwrap().apart, None, "one branch");
        one.seen.clear();
        assert_eq!(StatisticsRecord::of(&one), None, "no batch norm");
    }

    #[test]
    fn a_share_less_half_has_the_variance_of_the_share() {
        let mut record = record("a", 0, 0.5);
        record.statistics = StatisticsRecord::of(&diagnosis());
        let quantity = Quantity {
            evaluation: STATISTICS.into(),
            attack: "apart".into(),
            less: Some("half".into()),
        };
        let found = quantity.of(&record).unwrap();
        assert_eq!((found.value, found.variance, found.samples), (0.25, 0.75 * 0.25 / 4.0, 4));
    }
}
