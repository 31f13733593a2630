//! Where a search starts: the image, or a point of the ball.

use super::AttackStream;
use super::aim::image_key;
use crate::image::{Batch, Images};
use crate::stream::{Key, Purpose};
use crate::threat::{CoinScope, Range, Start, ThreatModel, sample_ball};

/// The first iterate of every image of `batch` in one restart.
pub(super) fn starting_points(
    start: Start,
    range: Range,
    threat: &ThreatModel,
    batch: &Batch,
    stream: &AttackStream,
    restart: u32,
) -> Images {
    let mut images = batch.images.clone();
    for (position, &index) in batch.indices.iter().enumerate() {
        let index = image_key(index);
        if is_clean(start, stream, index, restart) {
            continue;
        }
        let mut draws = stream.stream.draws(Key {
            purpose: Purpose::AttackStart,
            time: stream.time,
            index,
            restart,
        });
        let origin = batch.images.one(position);
        let point = sample_ball(threat.norm(), origin, threat.epsilon().value(), range, &mut draws);
        images.one_mut(position).copy_from_slice(&point);
    }
    images
}

fn is_clean(start: Start, stream: &AttackStream, image: u32, restart: u32) -> bool {
    match start {
        Start::Clean => true,
        Start::Uniform => false,
        Start::CleanWithProbability { probability, scope } => {
            // Keyed by (step, rank), not by tile, so that all tiles of a rank's batch see one coin (G7, G29).
            let index = match scope {
                CoinScope::PerBatch => stream.rank,
                CoinScope::PerImage => image,
            };
            let mut draws = stream.stream.draws(Key {
                purpose: Purpose::AttackCoin,
                time: stream.time,
                index,
                restart,
            });
            // A uniform draw below the probability; a normal one here gave 42 % noise instead of 80 % (T20).
            f64::from(draws.uniform()) < probability
        }
    }
}
